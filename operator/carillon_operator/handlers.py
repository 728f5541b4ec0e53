"""The kopf wiring: what is observed goes to the store, its key to the queue, and no more.

The handlers keep no state on the objects: no annotations, no finalizers.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import kopf

from carillon_core.resources import names
from carillon_operator.admission import Admission
from carillon_operator.observed_store import ObservedStore
from carillon_operator.work_queue import WorkQueue


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

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry, id="observe")
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        # A coroutine: kopf runs plain functions in threads, and store and queue belong to the loop.
        feed(store, queue, event["type"], event["object"])

    return registry


def feed(store: ObservedStore, queue: WorkQueue, change: str | None, task: Mapping[str, Any]) -> None:
    """Take one event of a ScheduledTask.

    Args:
        store: Where the task goes.
        queue: Where its key goes.
        change: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for one of the first list.
        task: The object as the API server shows it.

    """
    if change == "DELETED":
        meta = task["metadata"]
        key = (meta["namespace"], meta["name"])
        store.drop_task(key, meta["uid"])
    else:
        key = store.put_task(task)
    queue.add(key)


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
