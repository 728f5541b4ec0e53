"""The kopf wiring: what is observed goes to the store, its key to the queue, and no more.

The handlers keep no state on the objects: no annotations, no finalizers.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from carillon_core.ports import ObjectKind
from carillon_core.resources import names
from carillon_operator.admission import Admission
from carillon_operator.observed_store import ObservedStore
from carillon_operator.work_queue import Key, WorkQueue


async def run_kopf(
    store: ObservedStore,
    queue: WorkQueue,
    stop: asyncio.Event,
    *,
    liveness_endpoint: str | None = None,
    admission: Admission | None = None,
) -> None:
    """Observe the ScheduledTasks of all namespaces until ``stop`` is set or a signal comes."""
    registry, settings = registry_of(store, queue), kopf_settings()
    if admission is not None:
        admission.add_to(registry, settings)
    await kopf.operator(
        registry=registry,
        settings=settings,
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
        liveness_endpoint=liveness_endpoint,
    )


def registry_of(store: ObservedStore, queue: WorkQueue) -> kopf.OperatorRegistry:
    """Return a registry of the handlers, which feed this store and this queue."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, id="login")
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**kwargs)

    # Coroutines: kopf runs plain functions in threads, and store and queue belong to the loop.
    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="observe-task")
    async def observe_task(event: kopf.RawEvent, **_: Any) -> None:
        feed(store, queue, "ScheduledTask", event["type"], event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL_REQUESTS, registry=registry, id="observe-request")
    async def observe_request(event: kopf.RawEvent, **_: Any) -> None:
        feed(store, queue, "RunRequest", event["type"], event["object"])

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL_TARGETS, registry=registry, id="observe-target")
    async def observe_target(event: kopf.RawEvent, **_: Any) -> None:
        feed(store, queue, "HTTPTarget", event["type"], event["object"])

    return registry


def feed(store: ObservedStore, queue: WorkQueue, kind: ObjectKind, change: str | None, item: Mapping[str, Any]) -> None:
    """Take one event.

    Args:
        store: Where the object goes.
        queue: Where the keys that it concerns go.
        kind: The object's kind.
        change: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for one of the first list.
        item: The object as the API server shows it.

    """
    meta = item["metadata"]
    name = (meta["namespace"], meta["name"])
    gone = change == "DELETED"
    keys: Iterable[Key]
    if kind == "HTTPTarget":
        keys = store.drop_target(name, meta["uid"]) if gone else store.put_target(item)
    elif kind == "RunRequest":
        if gone:
            key = store.drop_request(name, meta["uid"])
            keys = () if key is None else (key,)
        else:
            keys = (store.put_request(item),)
    else:
        if gone:
            store.drop_task(name, meta["uid"])
        else:
            store.put_task(item)
        keys = (name,)
    for each in keys:
        queue.add(each)


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it posts no Events of its own and notices a watch that has died."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = [0.5, 1, 2, 4, 8]
    settings.scanning.disabled = True
    return settings
