"""When tasks will run next, from their specs alone: the same calculus by which the operator launches. Pure."""

import heapq
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from carillon_api.schemas import FireTime, TaskFireTime, Upcoming, UpcomingAll
from carillon_core.domain.advice import local_time
from carillon_core.domain.observed import ObservedTask
from carillon_core.domain.plan import Reason
from carillon_core.domain.schedule import Schedule, fire_times, schedule_of, schedule_problems
from carillon_core.domain.settle import runs_left
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

BEING_DELETED = "BeingDeleted"


def upcoming(raw: Mapping[str, Any], now: datetime, count: int) -> Upcoming:
    """Return the next ``count`` times of a task, or why there are none."""
    task = ObservedTask.from_object(raw)
    zone = zone_name(task.spec)
    items: list[FireTime] = []
    why = why_never(task)
    if why is None and task.spec is not None:
        slots = fire_times(schedule_of(task.spec, task.created_at), now, min(count, _left(task, count)))
        items = [FireTime(time=slot, local_time=local_time(slot, zone)) for slot in slots]
        why = None if items else _completed(task)
    reason, message = why or (None, None)
    return Upcoming(
        namespace=task.meta.namespace, task=task.meta.name, time_zone=zone, items=items, reason=reason, message=message
    )


def upcoming_of_all(raws: Iterable[Mapping[str, Any]], now: datetime, count: int) -> UpcomingAll:
    """Return the next ``count`` times among all tasks, soonest first; tasks that will not run have none."""
    merged = heapq.merge(*(_slots(ObservedTask.from_object(raw), now) for raw in raws))
    items = [
        TaskFireTime(time=slot, local_time=local_time(slot, zone), namespace=namespace, task=name, time_zone=zone)
        for slot, namespace, name, zone in islice(merged, count)
    ]
    return UpcomingAll(items=items)


def _slots(task: ObservedTask, now: datetime) -> Iterator[tuple[datetime, str, str, str]]:
    if task.spec is None or why_never(task) is not None:
        return
    zone = zone_name(task.spec)
    schedule: Schedule = schedule_of(task.spec, task.created_at)
    slot, left = schedule.next_fire_time(now), _left(task, sys.maxsize)
    while slot is not None and left > 0:
        yield slot, task.meta.namespace, task.meta.name, zone
        slot, left = schedule.next_fire_time(slot), left - 1


def _left(task: ObservedTask, otherwise: int) -> int:
    """Return how many slots ``maxRuns`` leaves."""
    left = runs_left(task.spec, task.status) if task.spec else 0
    return otherwise if left is None else left


def why_never(task: ObservedTask) -> tuple[str, str] | None:
    """Return the reason and the sentence why a task will not run, or None if only its schedule decides."""
    if task.meta.deletion_timestamp is not None:
        return BEING_DELETED, "the task is being deleted"
    problems = task.problems or (schedule_problems(task.spec) if task.spec else ())
    if problems:
        reason = Reason.INVALID_SPEC if task.spec is None else Reason.INVALID_SCHEDULE
        return reason, "; ".join(str(p) for p in problems)
    if task.spec is not None and task.spec.suspend:
        return Reason.SUSPENDED, "nothing is launched until spec.suspend is false"
    return None


def _completed(task: ObservedTask) -> tuple[str, str]:
    """Return why no slot is left: as the operator's condition says it, if it has spoken."""
    ready = next((c for c in task.status.conditions if c.type == "Ready"), None)
    if ready is not None and ready.reason == Reason.RUN_AT_IN_THE_PAST:
        return ready.reason, ready.message
    return Reason.COMPLETED, "no slot is left"


def zone_name(spec: ScheduledTaskSpec | None) -> str:
    """Return the zone in which a task's times are shown: the spec's, if it is one."""
    if spec is None or spec.time_zone is None or any(p.path == "spec.timeZone" for p in schedule_problems(spec)):
        return "UTC"
    return spec.time_zone
