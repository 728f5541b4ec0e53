"""Posts Events in the background: they are for people, and nothing waits for them or rests on them."""

import asyncio
from datetime import datetime

from carillon_core.domain.decision.plan import Notice
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.ports import Cluster, ObjectKind
from carillon_core.resources.meta import ObjectMeta

log = get_logger(__name__)

MOST_WAITING = 1000
"""Beyond, Events are dropped: a storm of them must not hold up what matters."""


class Announcer:
    """The Events to post, and the process that posts them."""

    def __init__(self, cluster: Cluster) -> None:
        """Take the cluster to post to."""
        self._cluster = cluster
        self._waiting: asyncio.Queue[tuple[ObjectMeta, Notice, datetime, ObjectKind]] = asyncio.Queue(MOST_WAITING)

    def announce(self, meta: ObjectMeta, notice: Notice, now: datetime, kind: ObjectKind = "ScheduledTask") -> None:
        """Have an Event posted about an object, if there is room."""
        try:
            self._waiting.put_nowait((meta, notice, now, kind))
        except asyncio.QueueFull:
            log.warning("event dropped", task=f"{meta.namespace}/{meta.name}")

    async def run(self) -> None:
        """Post what is announced, for ever."""
        while True:
            meta, notice, now, kind = await self._waiting.get()
            try:
                await self._cluster.post_event(meta, notice, now, kind)
            except CarillonError as error:
                log.info("event not posted", task=f"{meta.namespace}/{meta.name}", reason=notice.reason, why=str(error))
            except Exception:  # Events are for people: none of them is worth an end
                log.exception("event not posted", task=f"{meta.namespace}/{meta.name}")
