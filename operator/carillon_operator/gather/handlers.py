"""The kopf handlers: each puts an object into the store and its key into the queue, and does nothing else.

The handlers keep no state on the objects: no annotations, no finalizers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, ParamSpec, TypeVar

import kopf

from carillon_core.adapters.kube.shallow_session import shallow_session
from carillon_core.domain.scope import Scope
from carillon_core.logs import get_logger
from carillon_core.ports import ObjectKind
from carillon_core.resources import names
from carillon_operator.admission.admission import Admission
from carillon_operator.admission.references import References
from carillon_operator.gather.inbox import Inbox
from carillon_operator.gather.kopf_thread import KopfThread
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue

log = get_logger(__name__)

ERROR_BACKOFFS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""The waits of kopf after failed requests, in seconds."""
LONGEST_BACKOFF = 8.0
SAME_AGAIN_SECONDS = 2.0
"""The wait of a login that finds the same credentials as before."""
LOOP_SECONDS = 3.0
"""How long the operator's loop may take to respond to a liveness probe; shorter than the timeout of the probe."""

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_Observed = tuple[ObjectKind, str | None, Mapping[str, Any]]
Feed = Callable[[ObjectKind, str | None, Mapping[str, Any]], None]
"""Takes one event: the kind, the type of the change, and the object."""


async def run_kopf(
    store: ObservedStore,
    queue: WorkQueue,
    stop: asyncio.Event,
    *,
    scope: Scope | None = None,
    liveness_endpoint: str | None = None,
    admission: Admission | None = None,
) -> None:
    """Observe the objects of some namespaces, or of all, until ``stop`` is set.

    Raises:
        Exception: The error that kopf failed with.

    """
    loop = asyncio.get_running_loop()

    inbox = Inbox[_Observed](loop, lambda observed: feed(store, queue, *observed))

    def deliver(*observed: *_Observed) -> None:
        inbox.put(observed)

    namespaces = () if scope is None else scope.namespaces
    registry, settings = registry_of(deliver), kopf_settings(endless=bool(namespaces))
    _add_probe(registry, loop)
    if admission is not None:
        _asking_on_loop(loop, admission).add_to(registry, settings)

    async def spawn(halted: asyncio.Event) -> Collection[asyncio.Task[Any]]:
        return await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            stop_flag=halted,
            liveness_endpoint=liveness_endpoint,
        )

    thread = KopfThread(spawn)
    thread.start()
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {thread.ended, stopping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await thread.halt()
    await thread.ended


def _add_probe(registry: kopf.OperatorRegistry, loop: asyncio.AbstractEventLoop) -> None:
    """Make liveness also check the operator's own loop, which decides and writes, not only kopf's."""

    @kopf.on.probe(registry=registry, id="loop")
    async def turns(**_: Any) -> bool:
        turned = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
        try:
            async with asyncio.timeout(LOOP_SECONDS):
                await asyncio.wrap_future(turned)
        except TimeoutError as error:
            # kopf would retry any other error, and the probe would wait for that
            raise kopf.PermanentError(f"the operator's loop has not turned for {LOOP_SECONDS} s") from error
        return True


def _asking_on_loop(loop: asyncio.AbstractEventLoop, admission: Admission) -> Admission:
    """Return the webhook with its calls to the cluster in the loop that the connection belongs to."""
    trial, references = admission.trial, admission.references
    if references is not None:
        labels = references.secret_labels
        references = References(_on_loop(loop, references.get_object), labels and _on_loop(loop, labels))
    return replace(
        admission,
        apply_configuration=_on_loop(loop, admission.apply_configuration),
        review_access=_on_loop(loop, admission.review_access),
        trial=trial and replace(trial, create=_on_loop(loop, trial.create)),
        references=references,
    )


def _on_loop(
    loop: asyncio.AbstractEventLoop, work: Callable[_Arguments, Awaitable[_Answer]]
) -> Callable[_Arguments, Awaitable[_Answer]]:
    """Return work that runs in the loop that its connection belongs to, for callers in another."""

    async def there(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Answer:
        async def done() -> _Answer:
            return await work(*arguments, **named)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), loop))

    return there


def registry_of(deliver: Feed) -> kopf.OperatorRegistry:
    """Return a registry of the handlers, which deliver each event."""
    registry = kopf.OperatorRegistry()
    latest: list[kopf.ConnectionInfo | None] = [None]

    @kopf.on.login(registry=registry, id="login")
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        info = await asyncio.to_thread(kopf.login_via_client, **kwargs)
        if info is not None and info == latest[0]:
            # rejected a moment ago; kopf sees a new session each time and would retry immediately, for ever
            await asyncio.sleep(SAME_AGAIN_SECONDS)
        latest[0] = info
        return None if info is None else _session_of(info)

    # Coroutines, since kopf would run plain functions in more threads.
    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="observe-task")
    async def observe_task(event: kopf.RawEvent, **_: Any) -> None:
        deliver("ScheduledTask", event["type"], event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL_REQUESTS, registry=registry, id="observe-request")
    async def observe_request(event: kopf.RawEvent, **_: Any) -> None:
        deliver("RunRequest", event["type"], event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL_TARGETS, registry=registry, id="observe-target")
    async def observe_target(event: kopf.RawEvent, **_: Any) -> None:
        deliver("HTTPTarget", event["type"], event["object"])

    return registry


def _session_of(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """Return a session for these credentials that can read JSON of any depth; kopf closes it."""
    session = shallow_session(
        info.as_ssl_context(), info.as_http_headers(), info.proxy_url, trust_env=bool(info.trust_env)
    )
    return kopf.AiohttpSession(
        server=info.server,
        priority=info.priority,
        default_namespace=info.default_namespace,
        expiration=info.expiration,
        aiohttp_session=session,
    )


def feed(store: ObservedStore, queue: WorkQueue, kind: ObjectKind, change: str | None, item: Mapping[str, Any]) -> None:
    """Put the object of one event into the store, and its keys into the queue.

    Args:
        store: Where the object goes.
        queue: Where the affected keys go.
        kind: The object's kind.
        change: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for an object of a list.
        item: The object from the API server.

    """
    shelf, meta = store.shelf(kind), item["metadata"]
    if change == "DELETED":
        store.guard.quarantine.forget(meta["uid"])
    keys = shelf.drop((meta["namespace"], meta["name"]), meta["uid"]) if change == "DELETED" else shelf.put(item)
    for key in keys:
        queue.add(key)


class _Endless:
    """Waits between tries, without an end."""

    def __iter__(self) -> Iterator[float]:
        return chain(ERROR_BACKOFFS, repeat(LONGEST_BACKOFF))


def kopf_settings(*, endless: bool = False) -> kopf.OperatorSettings:
    """Return kopf's settings: no Events of its own, and timeouts that end dead watches.

    Args:
        endless: Whether requests are retried for ever. Otherwise one namespace that cannot be read ends kopf, and with
            it the observation of the others.

    """
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Endless() if endless else ERROR_BACKOFFS
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = (
        None  # it would kill the process, which continues without a kopf that hangs
    )
    return settings
