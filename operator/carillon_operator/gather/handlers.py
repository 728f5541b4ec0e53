"""The kopf wiring: what is observed goes to the store, its key to the queue, and no more.

The handlers keep no state on the objects: no annotations, no finalizers.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from typing import Any

import kopf

from carillon_core.adapters.kube.shallow_session import shallow_session
from carillon_core.domain.scope import Scope
from carillon_core.logs import get_logger
from carillon_core.ports import ObjectKind
from carillon_core.resources import names
from carillon_operator.gather.admission import Admission
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue

log = get_logger(__name__)

ERROR_BACKOFFS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long kopf waits after each failure of a call, in seconds."""
LONGEST_BACKOFF = 8.0
SAME_AGAIN_SECONDS = 2.0
"""How long a login waits that finds the credentials that it found before."""
CLOSING_SECONDS = 0.25
"""As aiohttp's documentation has it, under "Graceful shutdown"."""

ENDING_SECONDS = 8.0
"""How long kopf may take to end once one of its tasks has; what its handlers do has 5 s of that."""

LOOP_SECONDS = 3.0
"""How long the operator's loop may take to come to a new turn while it is asked whether it is alive: less than what a
probe waits for an answer."""

Feed = Callable[[ObjectKind, str | None, Mapping[str, Any]], None]
"""Takes one event: the kind, the change and the object."""


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

    kopf has a thread and a loop of its own: when it fails, as it does when its
    watch is answered with 410, it cancels every task of its loop that is younger
    than itself, whoever's it is.

    Raises:
        Exception: Whatever kopf failed with.

    """
    loop = asyncio.get_running_loop()

    def deliver(kind: ObjectKind, change: str | None, item: Mapping[str, Any]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the process with it
            loop.call_soon_threadsafe(feed, store, queue, kind, change, item)

    namespaces = () if scope is None else scope.namespaces
    registry, settings = registry_of(deliver), kopf_settings(endless=bool(namespaces))
    _add_probe(registry, loop)
    if admission is not None:
        there = partial(_on_loop, loop, admission.apply_configuration)
        replace(admission, apply_configuration=there).add_to(registry, settings)
    halting: asyncio.Future[Callable[[], object]] = loop.create_future()

    async def operate() -> None:
        # An event of this loop: for one of threading, kopf would wait in a thread that outlives its failure.
        own, halted = asyncio.get_running_loop(), asyncio.Event()
        loop.call_soon_threadsafe(halting.set_result, partial(own.call_soon_threadsafe, halted.set))
        try:
            ignored = asyncio.all_tasks()
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=settings,
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                stop_flag=halted,
                liveness_endpoint=liveness_endpoint,
            )
            await until_ended(tasks, ignored)
        finally:
            # TLS connections are closed in the background, which needs a loop that lives a moment longer
            await asyncio.sleep(CLOSING_SECONDS)

    operating: asyncio.Future[None] = loop.create_future()

    async def operate_and_tell() -> None:
        try:
            await operate()
        except BaseException as error:  # noqa: BLE001  # it is raised where it is awaited
            tell = partial(_fail, operating, error)
        else:
            tell = partial(_succeed, operating)
        with suppress(RuntimeError):  # the loop has ended, and the process with it
            loop.call_soon_threadsafe(tell)

    # A daemon: one that does not end when it is told to must not hold the process.
    threading.Thread(target=asyncio.run, args=(operate_and_tell(),), name="kopf", daemon=True).start()
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {operating, stopping}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not operating.done():
            with suppress(RuntimeError):  # it has ended already
                (await halting)()
    await operating


async def until_ended(tasks: Collection[asyncio.Task[Any]], ignored: Collection[asyncio.Task[Any]] = ()) -> None:
    """Have kopf's root tasks run until one of them ends; then they all do, but are not waited for without a bound.

    A watch that kopf cancels at a bad moment goes on, for what waits within it swallows that: kopf would wait for it
    for ever, and the operator, of which nothing watches any more, would look as if it were alive.

    Args:
        tasks: As ``kopf.spawn_tasks`` has made them.
        ignored: The loop's tasks that are none of kopf's.

    Raises:
        Exception: What the task that ended first has raised.

    """
    running = asyncio.ensure_future(kopf.run_tasks(tasks, ignored=[*ignored]))
    first, _ = await asyncio.wait([*tasks, running], return_when=asyncio.FIRST_COMPLETED)
    done, _ = await asyncio.wait([running], timeout=ENDING_SECONDS)
    if not done:
        log.error("kopf does not end, going on without it", waited_seconds=ENDING_SECONDS)
    for task in [*done, *first]:
        task.result()


def _add_probe(registry: kopf.OperatorRegistry, loop: asyncio.AbstractEventLoop) -> None:
    """Have liveness say whether the loop turns that decides and writes, and not kopf's alone, which serves it."""

    @kopf.on.probe(registry=registry, id="loop")
    async def turns(**_: Any) -> bool:
        turned = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
        try:
            async with asyncio.timeout(LOOP_SECONDS):
                await asyncio.wrap_future(turned)
        except TimeoutError as error:
            # anything else would be tried again by kopf, and whoever asks would wait for that
            raise kopf.PermanentError(f"the operator's loop has not turned for {LOOP_SECONDS} s") from error
        return True


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def _on_loop(
    loop: asyncio.AbstractEventLoop,
    work: Callable[[dict[str, Any]], Awaitable[None]],
    body: dict[str, Any],
) -> None:
    """Have work done on the loop that its connection belongs to, and wait for it on this one."""

    async def done() -> None:
        await work(body)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done(), loop))


def registry_of(deliver: Feed) -> kopf.OperatorRegistry:
    """Return a registry of the handlers, which hand each event on."""
    registry = kopf.OperatorRegistry()
    latest: list[kopf.ConnectionInfo | None] = [None]

    @kopf.on.login(registry=registry, id="login")
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        info = await asyncio.to_thread(kopf.login_via_client, **kwargs)
        if info is not None and info == latest[0]:
            # refused a moment ago, which kopf cannot see, for each session is another: not at once again, and for ever
            await asyncio.sleep(SAME_AGAIN_SECONDS)
        latest[0] = info
        return None if info is None else _session_of(info)

    # Coroutines: kopf would run plain functions in further threads.
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
    """Return a session for these credentials, as kopf would make one, that reads whatever depth; kopf closes it."""
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
    """Take one event.

    Args:
        store: Where the object goes.
        queue: Where the keys that it concerns go.
        kind: The object's kind.
        change: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for one of the first list.
        item: The object as the API server shows it.

    """
    shelf, meta = store.shelf(kind), item["metadata"]
    keys = shelf.drop((meta["namespace"], meta["name"]), meta["uid"]) if change == "DELETED" else shelf.put(item)
    for key in keys:
        queue.add(key)


class _Endless:
    """The waits between the tries of a call, without an end."""

    def __iter__(self) -> Iterator[float]:
        return chain(ERROR_BACKOFFS, repeat(LONGEST_BACKOFF))


def kopf_settings(*, endless: bool = False) -> kopf.OperatorSettings:
    """Return kopf's settings: it posts no Events of its own and notices a watch that has died.

    Args:
        endless: Whether a call is tried for ever. Of one namespace that may not be read, because it is gone, kopf would
            otherwise end, and with it what it observes of the others.

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
        None  # it would kill the process, which goes on without a kopf that hangs
    )
    return settings
