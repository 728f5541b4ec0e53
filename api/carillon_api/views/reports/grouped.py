"""Tasks that have the same slots, so that each slot of many tasks is computed once. Pure."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from carillon_api.views.upcoming import Entry, Steps, Window, slots_of
from carillon_core.domain.timetable.schedule import Schedule
from carillon_core.errors import TooMuchWorkError

MOST_SLOTS = 150_000
"""How many slots are computed for one response; one that several tasks have counts once. This takes about a second."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks with the same slots."""

    schedule: Schedule
    runs_left: int | None
    delay: timedelta
    """The time from each slot to the launches."""
    members: list[Entry] = field(default_factory=list)


def groups_of(entries: Iterable[Entry]) -> list[Group]:
    """Return the tasks that will run, by their slots."""
    found: dict[tuple[Schedule, int | None, timedelta], Group] = {}
    for entry in entries:
        if entry.schedule is not None:
            key = (entry.schedule, entry.runs_left, entry.delay)
            found.setdefault(key, Group(*key)).members.append(entry)
    return list(found.values())


def merged_slots(groups: Sequence[Group], window: Window) -> Iterator[tuple[datetime, int]]:
    """Yield the slots of all groups in a window, soonest first, each with the number of its group."""
    steps = Steps()
    return heapq.merge(*(_slots(group, number, window, steps) for number, group in enumerate(groups)))


def _slots(group: Group, number: int, window: Window, steps: Steps) -> Iterator[tuple[datetime, int]]:
    with suppress(TooMuchWorkError):  # the task's own list says so; the slots of the others are right
        for slot in slots_of(group.schedule, group.runs_left, window, steps):
            yield slot, number
