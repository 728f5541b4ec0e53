"""The next time of each task, and why a task has none. Pure."""

from collections.abc import Sequence
from datetime import datetime

from carillon_api.schemas import BlockedTask, TaskFireTime, UpcomingAll
from carillon_api.views.timetables import Why
from carillon_api.views.upcoming import OUTSIDE_WINDOW, Entry, Steps, Window, slots_of
from carillon_core.domain.decision.plan import NO_SLOTS_LEFT, Reason
from carillon_core.domain.validity.advice import local_time
from carillon_core.errors import TooMuchWorkError
from carillon_core.resources.base import rfc3339

MOST_TASKS = 2_000
"""How many tasks one response has."""


def next_of_each(entries: Sequence[Entry], window: Window) -> UpcomingAll:
    """Return the next time of each task in a window, soonest first, and the tasks that cannot run, by name."""
    items: list[TaskFireTime] = []
    blocked: list[BlockedTask] = []
    steps = Steps()
    for entry in sorted(entries, key=lambda each: (each.namespace, each.name))[:MOST_TASKS]:
        slot, why = _next(entry, window, steps)
        if why is not None:
            reason, message = why
            given = BlockedTask(namespace=entry.namespace, task=entry.name, time=slot, reason=reason, message=message)
            blocked.append(given)
        elif slot is not None:
            local = local_time(slot, entry.zone)
            item = TaskFireTime(
                time=slot, local_time=local, namespace=entry.namespace, task=entry.name, time_zone=entry.zone
            )
            items.append(item)
    items.sort(key=lambda item: item.time)
    return UpcomingAll(items=items, blocked=blocked, tasks=len(entries))


def _next(entry: Entry, window: Window, steps: Steps) -> tuple[datetime | None, Why | None]:
    """Return the next slot of a task in a window, and why it will not run; at least one of them."""
    if entry.schedule is None:
        return None, entry.why
    endless = Window(window.now, window.after, None, 1)
    try:
        slot = next(slots_of(entry.schedule, entry.runs_left, endless, steps), None)
    except TooMuchWorkError as error:
        return None, (Reason.QUARANTINED, f"its times cannot be computed: {error}")
    if slot is None:
        return None, (Reason.COMPLETED, NO_SLOTS_LEFT)
    if not window.admits(slot):
        return None, entry.why or (OUTSIDE_WINDOW, f"the next time is {rfc3339(slot)}")
    return slot, entry.why
