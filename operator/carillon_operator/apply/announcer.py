"""Posts Kubernetes Events in the background. Nothing waits for them or depends on them.

Events of one cause about one object are one Event with a count: it is updated
at most once in ``SPACING``, so that a task that runs, or is skipped, every
second does not flood etcd.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.domain.launch.order import Order
from carillon_core.errors import CarillonError, ForbiddenError, NotFoundError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import EventPoster, EventSeries, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta
from carillon_operator.state.work_queue import Key, WorkQueue

log = get_logger(__name__)

SPACING = {"Normal": timedelta(seconds=60), "Warning": timedelta(seconds=10)}
"""The minimum time between two writes of one Event, by its type. The first occurrence is posted at once."""
REMEMBERED = 20_000
"""How many Events are remembered."""
LOGGED_EVERY = timedelta(minutes=1)
"""The minimum time between two log lines about dropped Events."""


@dataclass(slots=True)
class _Posted:
    """What is known of one Event, and what of it has been posted."""

    series: EventSeries
    """What it should say now."""
    name: str = ""
    """Its name; empty if it was never posted."""
    count: int = 0
    """The number of occurrences that were posted."""
    tried_at: datetime | None = None


class _PostedEvents:
    """What is known of the Events by key, limited in number.

    What is forgotten first are Events that say all that they should; their next
    occurrence is a new Event. Only then those that wait to be written are dropped.
    Of both, Normal goes before Warning, and the least recent before the others.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Start empty; take the clock that spaces the log lines."""
        self._clock = clock
        self._lanes: dict[tuple[bool, str], OrderedDict[Key, _Posted]] = {
            (waits, kind): OrderedDict() for waits in (False, True) for kind in ("Normal", "Warning")
        }
        """By whether they wait to be written and by type, in the order in which they are forgotten."""
        self._dropped = 0
        self._logged_at: datetime | None = None

    def get(self, key: Key) -> _Posted | None:
        """Return what is known of an Event."""
        return next((lane[key] for lane in self._lanes.values() if key in lane), None)

    def put(self, key: Key, known: _Posted) -> None:
        """Keep an Event as the most recent of its kind; if there are too many, forget one."""
        for lane in self._lanes.values():
            lane.pop(key, None)
        self._lanes[known.count != known.series.count, known.series.notice.type][key] = known
        if sum(map(len, self._lanes.values())) > REMEMBERED:
            (waits, _), lane = next(each for each in self._lanes.items() if each[1])
            (namespace, _), _ = lane.popitem(last=False)
            if waits:
                self._log_dropped(namespace)

    def _log_dropped(self, namespace: str) -> None:
        self._dropped += 1
        now = self._clock()
        # also if the clock was set back
        if self._logged_at is None or abs(now - self._logged_at) >= LOGGED_EVERY:
            log.warning("events dropped", count=self._dropped, last_namespace=namespace)
            self._dropped, self._logged_at = 0, now


class Announcer:
    """The Events that are to be posted and the processes that post them."""

    def __init__(self, cluster: EventPoster, clock: Callable[[], datetime]) -> None:
        """Take the cluster to post to and the clock that dates the Events."""
        self._cluster = cluster
        self._clock = clock
        self._known = _PostedEvents(clock)
        self._waiting: set[Key] = set()
        self._queue = WorkQueue(clock)

    def report(self, meta: ObjectMeta, notice: Notice, kind: ObjectKind = "ScheduledTask") -> None:
        """Log what happened to an object and have it posted as an Event."""
        level = logging.WARNING if notice.type == "Warning" else logging.INFO
        whose = {"task" if kind == "ScheduledTask" else "request": f"{meta.namespace}/{meta.name}"}
        log.log(level, notice.happened or str(notice.reason), **whose, reason=str(notice.reason), why=notice.message)
        self.announce(meta, notice, kind)

    def announce(self, meta: ObjectMeta, notice: Notice, kind: ObjectKind = "ScheduledTask") -> None:
        """Have an Event about an object posted, or counted if there was one of this cause before."""
        now = self._clock()
        key = (meta.namespace, f"{kind}/{meta.uid}/{notice.type}/{notice.reason}/{notice.cause}")
        known = self._known.get(key)
        if known is None:
            known = _Posted(EventSeries(meta, kind, notice, now, now))
        else:
            known.series = replace(known.series, meta=meta, notice=notice, last=now, count=known.series.count + 1)
        self._known.put(key, known)
        self._schedule(key, known)

    def launched(self, order: Order) -> None:
        """Log and announce that the Job of an order was created."""
        late = (self._clock() - order.slot).total_seconds()
        task = f"{order.owner.namespace}/{order.task_name}"
        log.info("launched", task=task, job=order.job_name, late_ms=round(late * 1000))
        text = f"launched Job {order.job_name} for the slot of {rfc3339(order.slot)}"
        kind: ObjectKind = "ScheduledTask" if order.request_name is None else "RunRequest"
        self.announce(order.owner, Notice("Normal", Reason.LAUNCHED, text), kind)

    async def flush(self) -> None:
        """Write all waiting Events now."""
        for key in list(self._waiting):
            self._queue.add_at(key, None)
            await self._write(key)

    def processes(self) -> list[Coroutine[None, None, None]]:
        """Return the coroutines that post the Events, for ever; run them together."""
        return [self._queue.run_sleeper(), self._run()]

    def _schedule(self, key: Key, known: _Posted) -> None:
        """Have an Event written as soon as its spacing permits."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        now, spacing = self._clock(), SPACING[known.series.notice.type]
        # no later than the spacing from now, even if the clock was set back
        due = now if known.tried_at is None else min(max(now, known.tried_at + spacing), now + spacing)
        self._queue.add_at(key, due)

    async def _run(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._write(key)
            except UnavailableError as error:
                log.info("event not posted yet", object="/".join(key), why=str(error))
                if (known := self._known.get(key)) is not None:
                    self._schedule(key, known)
            except CarillonError as error:
                log.info("event not posted", object="/".join(key), why=str(error))
            except Exception:  # no Event is worth stopping the operator
                log.exception("event not posted", object="/".join(key))
            finally:
                self._queue.done(key)

    async def _write(self, key: Key) -> None:
        self._waiting.discard(key)
        known = self._known.get(key)
        if known is None or known.count == known.series.count:
            return
        known.tried_at, series = self._clock(), known.series
        if known.name:
            try:
                await self._cluster.update_event(series, known.name)
            except (NotFoundError, ForbiddenError):  # it has expired, or the role allows no updates: count again
                known.name, posted = "", known.count
                series = replace(series, first=series.last, count=series.count - posted)
                known.series = replace(known.series, first=series.first, count=known.series.count - posted)
        if not known.name:
            known.name = await self._cluster.post_event(series)
        known.count = series.count
        if self._known.get(key) is known:  # else it was forgotten meanwhile
            self._known.put(key, known)
