"""When tasks will run next, computed from their specs by the same code as in the operator. Pure."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from carillon_api.schemas import FireTime, TaskFireTime, Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.views.objects import as_object
from carillon_api.views.timetables import Timetable, Timetables, Why, why_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.decision.plan import NO_SLOTS_LEFT, Reason
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.timetable.schedule import Schedule
from carillon_core.domain.validity.advice import local_time
from carillon_core.domain.validity.future import future_problem
from carillon_core.errors import FieldProblem, InvalidResourceError, TooMuchWorkError
from carillon_core.resources.base import rfc3339

BEING_DELETED = "BeingDeleted"
OUTSIDE_WINDOW = "OutsideWindow"
FURTHEST = timedelta(days=10 * 366)
MAX_STEPS = 20_000
"""How many slots before a window are counted against maxRuns in one response; later slots are not counted."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The requested times: the first ``count`` in ``(after, before)``."""

    now: datetime
    after: datetime
    before: datetime | None
    count: int

    def admits(self, slot: datetime) -> bool:
        """Return whether a slot after ``after`` is in the window."""
        return self.before is None or slot < self.before


def window_of(query: UpcomingQuery, now: datetime) -> Window:
    """Return the window of a caller's query.

    Raises:
        InvalidResourceError: If the window is empty or too far ahead.

    """
    furthest = now + FURTHEST
    problems = [
        FieldProblem(name, f"must be at most ten years ahead: set it to a time before {rfc3339(furthest)}")
        for name, when in (("from", query.from_), ("to", query.to))
        if when is not None and when > furthest
    ]
    # a window that begins now excludes the current instant: a slot that is due is not upcoming
    after = now if query.from_ is None or query.from_ <= now else query.from_ - MICROSECOND
    if past := future_problem(query.to, now, "to"):
        problems.append(past)
    elif query.to is not None and query.to <= after + MICROSECOND:
        problems.append(FieldProblem("to", "must be after from: set a later time"))
    if problems:
        raise InvalidResourceError(problems)
    return Window(now, after, query.to, query.count)


class Steps:
    """How many slots may still be counted for one response."""

    def __init__(self) -> None:
        """Allow ``MAX_STEPS``."""
        self.left = MAX_STEPS

    def take(self) -> bool:
        """Return whether one more slot may be counted."""
        self.left -= 1
        return self.left >= 0


def slots_of(
    schedule: Schedule, runs_left: int | None, window: Window, steps: Steps | None = None
) -> Iterator[datetime]:
    """Yield the slots of a window, soonest first; counted slots before the window reduce ``runs_left``.

    Args:
        schedule: The schedule.
        runs_left: How many slots may be launched from now on; None means any number.
        window: The window; its ``count`` is not used here.
        steps: Limits the counting; None means a limit of this call's own.

    """
    steps = steps or Steps()
    slot = _next(schedule, window.after if runs_left is None else window.now)
    while slot is not None and runs_left is not None and runs_left > 0 and slot <= window.after:
        runs_left -= 1
        slot = _next(schedule, slot if steps.take() else window.after)
    while slot is not None and window.admits(slot) and (runs_left is None or runs_left > 0):
        yield slot
        runs_left = None if runs_left is None else runs_left - 1
        slot = _next(schedule, slot)


def _next(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the next slot, within the limit of CPU time.

    Raises:
        TooMuchWorkError: It cannot be found.

    """
    return CPU_LIMIT.run(partial(schedule.next_fire_time, after))


def upcoming(raw: Mapping[str, Any], window: Window, timetables: Timetables) -> Upcoming:
    """Return the times of a task in a window, or why there are none."""
    meta, table = raw["metadata"], timetables.of(raw)
    items: list[FireTime] = []
    why = _why_never(raw, table)
    if why is None and table.schedule is not None:
        try:
            items = fire_times_of(table, _runs_left(raw, table), window)
            why = None if items else _why_none(raw, table, window)
        except TooMuchWorkError as error:
            why = why_of(Reason.QUARANTINED, f"its times cannot be computed: {error}")
    reason, message = why or (None, None)
    return Upcoming(
        namespace=meta.get("namespace", ""),
        task=meta["name"],
        time_zone=table.zone,
        items=items,
        reason=reason,
        message=message,
    )


def next_runs(raw: Mapping[str, Any], window: Window, timetables: Timetables) -> list[FireTime]:
    """Return the next times of a task; none if it will not run, or if they cannot be computed."""
    table = timetables.of(raw)
    if _why_never(raw, table) is not None:
        return []
    try:
        return fire_times_of(table, _runs_left(raw, table), window)
    except TooMuchWorkError:
        return []


def fire_times_of(table: Timetable, runs_left: int | None, window: Window) -> list[FireTime]:
    """Return the times of a timetable in a window."""
    if table.schedule is None:
        return []
    slots = islice(slots_of(table.schedule, runs_left, window), window.count)
    return [FireTime(time=slot, local_time=local_time(slot, table.zone)) for slot in slots]


@dataclass(frozen=True, slots=True)
class Entry:
    """A task, with the data to compute its times."""

    namespace: str
    name: str
    zone: str
    schedule: Schedule | None
    """None if the task will not run."""
    runs_left: int | None
    why: Why | None = None
    """Why it will not run, or cannot run at present."""
    delay: timedelta = timedelta(0)
    """The time from each slot to its launch, from ``jitterSeconds``."""


def entries_of(raws: Iterable[Mapping[str, Any]], timetables: Timetables) -> list[Entry]:
    """Return the tasks among objects of the API server."""
    found = []
    for raw in raws:
        table, meta = timetables.of(raw), raw["metadata"]
        why = _why_never(raw, table)
        schedule, left = (table.schedule, _runs_left(raw, table)) if why is None else (None, None)
        if schedule is not None:
            why = _why_not_now(raw)
        found.append(Entry(meta.get("namespace", ""), meta["name"], table.zone, schedule, left, why, table.delay))
    return found


def upcoming_of_all(entries: Iterable[Entry], window: Window) -> UpcomingAll:
    """Return the first times among all tasks in a window, soonest first.

    This takes one step for each task and one for each time, regardless of the density of the schedules.
    """
    items = [
        TaskFireTime(time=slot, local_time=local_time(slot, zone), namespace=namespace, task=name, time_zone=zone)
        for slot, namespace, name, zone in islice(merged_times(entries, window), window.count)
    ]
    return UpcomingAll(items=items)


def merged_times(entries: Iterable[Entry], window: Window) -> Iterator[tuple[datetime, str, str, str]]:
    """Yield each slot of all tasks in a window, soonest first: its time, namespace, task and time zone."""
    steps = Steps()
    return heapq.merge(*(_times(entry, window, steps) for entry in entries))


def _times(entry: Entry, window: Window, steps: Steps) -> Iterator[tuple[datetime, str, str, str]]:
    if entry.schedule is None:
        return
    with suppress(TooMuchWorkError):  # its own list says so; the times of the others are right
        for slot in slots_of(entry.schedule, entry.runs_left, window, steps):
            yield slot, entry.namespace, entry.name, entry.zone


def _runs_left(raw: Mapping[str, Any], table: Timetable) -> int | None:
    """Return how many runs ``maxRuns`` leaves, or None if there is no limit."""
    if table.max_runs is None:
        return None
    runs = as_object(raw.get("status")).get("runs")
    return max(0, table.max_runs - runs) if isinstance(runs, int) else table.max_runs


def _why_never(raw: Mapping[str, Any], table: Timetable) -> Why | None:
    """Return why a task will not run, or None if only its schedule determines it."""
    if raw["metadata"].get("deletionTimestamp") is not None:
        return BEING_DELETED, "the task is being deleted"
    return table.why_never or _found_invalid(raw)


def _found_invalid(raw: Mapping[str, Any]) -> Why | None:
    """Return why the operator launches nothing of this spec, from its condition; the schedule alone may be valid."""
    conditions = as_object(raw.get("status")).get("conditions")
    for each in map(as_object, conditions if isinstance(conditions, list) else ()):
        current = each.get("observedGeneration") == raw["metadata"].get("generation")
        if current and (each.get("type"), each.get("reason")) == ("Ready", Reason.INVALID_SPEC):
            return why_of(Reason.INVALID_SPEC, str(each.get("message", "")))
    return None


def _why_not_now(raw: Mapping[str, Any]) -> Why | None:
    """Return why the operator does not launch a task's slots at present, such as an open circuit; None if it does.

    The status is read as it is: parsing it would take most of the time of a list.
    """
    status = as_object(raw.get("status"))
    if status.get("observedGeneration") != raw["metadata"].get("generation"):
        return None  # said of an earlier spec
    conditions = status.get("conditions")
    for each in map(as_object, conditions if isinstance(conditions, list) else ()):
        if each.get("type") == "Ready" and each.get("status") == "False":
            return why_of(str(each.get("reason", "")), str(each.get("message", "")))
    return None


def _why_none(raw: Mapping[str, Any], table: Timetable, window: Window) -> Why:
    """Return why no slot is left, or none in the window; from the operator's condition if there is one."""
    endless = Window(window.now, window.after, None, 1)
    if table.schedule is not None:
        following = next(slots_of(table.schedule, _runs_left(raw, table), endless), None)
        if following is not None:
            return OUTSIDE_WINDOW, f"the next time is {rfc3339(following)}"
    ready = next((c for c in ObservedTask.from_object(raw).status.conditions if c.type == "Ready"), None)
    if ready is not None and ready.reason == Reason.RUN_AT_IN_THE_PAST:
        return why_of(ready.reason, ready.message)
    return Reason.COMPLETED, NO_SLOTS_LEFT
