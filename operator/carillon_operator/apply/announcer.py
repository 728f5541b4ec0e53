"""Posts Kubernetes Events in the background. Nothing waits for them or depends on them."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.domain.launch.order import Order
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.ports import EventPoster, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta

log = get_logger(__name__)

MOST_WAITING = 1000
"""More Events than this are dropped, so that a storm of them does not delay launches."""


class Announcer:
    """The queue of Events and the process that posts them."""

    def __init__(self, cluster: EventPoster, clock: Callable[[], datetime]) -> None:
        """Take the cluster to post to and the clock that dates the Events."""
        self._cluster = cluster
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[ObjectMeta, Notice, datetime, ObjectKind]] = asyncio.Queue(MOST_WAITING)

    def report(self, meta: ObjectMeta, notice: Notice, kind: ObjectKind = "ScheduledTask") -> None:
        """Log a notice about an object and have it posted as an Event."""
        level = logging.WARNING if notice.type == "Warning" else logging.INFO
        log.log(level, "notice", task=f"{meta.namespace}/{meta.name}", reason=notice.reason, why=notice.message)
        self.announce(meta, notice, kind)

    def announce(self, meta: ObjectMeta, notice: Notice, kind: ObjectKind = "ScheduledTask") -> None:
        """Post an Event about an object later, if the queue has room."""
        try:
            self._waiting.put_nowait((meta, notice, self._clock(), kind))
        except asyncio.QueueFull:
            log.warning("event dropped", task=f"{meta.namespace}/{meta.name}")

    def launched(self, order: Order) -> None:
        """Log and announce that the Job of an order was created."""
        late = (self._clock() - order.slot).total_seconds()
        task = f"{order.owner.namespace}/{order.task_name}"
        log.info("launched", task=task, job=order.job_name, late_ms=round(late * 1000))
        text = f"launched Job {order.job_name} for the slot of {rfc3339(order.slot)}"
        kind: ObjectKind = "ScheduledTask" if order.request_name is None else "RunRequest"
        self.announce(order.owner, Notice("Normal", Reason.LAUNCHED, text), kind)

    async def run(self) -> None:
        """Post announced Events, for ever."""
        while True:
            meta, notice, now, kind = await self._waiting.get()
            try:
                await self._cluster.post_event(meta, notice, now, kind)
            except CarillonError as error:
                log.info("event not posted", task=f"{meta.namespace}/{meta.name}", reason=notice.reason, why=str(error))
            except Exception:  # no Event is worth stopping the operator
                log.exception("event not posted", task=f"{meta.namespace}/{meta.name}")
