"""How many launches each minute has, and which tasks make them. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest

from carillon_api.schemas.reports.load import BusyMinute, Load, TaskShare
from carillon_api.views.reports.grouped import Group, groups_of, merged_slots
from carillon_api.views.upcoming import Entry, Window

MINUTE = timedelta(minutes=1)
MOST_BUSIEST = 10
MOST_SHARES = 10
DIGITS = 3

Means = Mapping[tuple[str, str], float]
"""The mean duration of tasks in seconds, by namespace and name."""


@dataclass(frozen=True, slots=True)
class Launches:
    """The launches of a range of minutes."""

    groups: Sequence[Group]
    fires: Sequence[tuple[int, int]]
    """The number of a minute, from 0, and of the group whose tasks are launched in it; as often as they are."""
    until: datetime | None
    """The first slot that may not have been counted for all tasks; None if all were."""


def launches_of(entries: Iterable[Entry], window: Window, start: datetime, minutes: int) -> Launches:
    """Return the launches of tasks; at most ``window.count`` different slots are computed.

    Args:
        entries: The tasks.
        window: The slots.
        start: The start of the first minute.
        minutes: The number of minutes; a launch that jitter delays beyond them is left out.

    """
    groups = groups_of(entries)
    fires: list[tuple[int, int]] = []
    for done, (slot, number) in enumerate(merged_slots(groups, window)):
        if done == window.count:
            return Launches(groups, fires, slot)
        minute = (slot + groups[number].delay - start) // MINUTE
        if minute < minutes:
            fires.append((minute, number))
    return Launches(groups, fires, None)


def counts_of(launches: Launches, minutes: int) -> list[int]:
    """Return the number of launches in each minute."""
    counts = [0] * minutes
    for minute, number in launches.fires:
        counts[minute] += len(launches.groups[number].members)
    return counts


def load_view(launches: Launches, start: datetime, minutes: int, means: Means | None, missing: str | None) -> Load:
    """Return the load of a range.

    Args:
        launches: The launches.
        start: The start of the first minute.
        minutes: The number of minutes.
        means: The mean durations; None if they cannot be read.
        missing: Why they cannot be read.

    """
    counts = counts_of(launches, minutes)
    seconds = None if means is None else _seconds(launches, minutes, means)
    tasks = [(each.namespace, each.name) for group in launches.groups for each in group.members]
    return Load(
        from_=start,
        to=start + minutes * MINUTE,
        bucket_seconds=int(MINUTE.total_seconds()),
        counts=counts,
        seconds=seconds,
        seconds_missing=missing,
        total=sum(counts),
        tasks=len(tasks),
        measured_tasks=sum(task in (means or {}) for task in tasks),
        busiest=_busiest(launches, start, counts, seconds, means),
        counted_until=launches.until,
    )


def _seconds(launches: Launches, minutes: int, means: Means) -> list[float]:
    each = [sum(means.get((one.namespace, one.name), 0) for one in group.members) for group in launches.groups]
    found = [0.0] * minutes
    for minute, number in launches.fires:
        found[minute] += each[number]
    return [round(value, DIGITS) for value in found]


def _busiest(
    launches: Launches, start: datetime, counts: Sequence[int], seconds: Sequence[float] | None, means: Means | None
) -> list[BusyMinute]:
    busy = nsmallest(MOST_BUSIEST, (m for m, count in enumerate(counts) if count), key=lambda m: (-counts[m], m))
    groups: dict[int, Counter[int]] = {minute: Counter() for minute in busy}
    for minute, number in launches.fires:
        if minute in groups:
            groups[minute][number] += 1
    return [
        BusyMinute(
            start=start + minute * MINUTE,
            count=counts[minute],
            seconds=None if seconds is None else seconds[minute],
            tasks=_shares(launches.groups, groups[minute], means or {}),
            task_count=sum(len(launches.groups[number].members) for number in groups[minute]),
        )
        for minute in busy
    ]


def _shares(groups: Sequence[Group], fires: Mapping[int, int], means: Means) -> list[TaskShare]:
    ranked = sorted(
        (-count, one.namespace, one.name) for number, count in fires.items() for one in groups[number].members
    )
    found = []
    for negative, namespace, name in ranked[:MOST_SHARES]:
        mean = means.get((namespace, name))
        seconds = None if mean is None else round(-negative * mean, DIGITS)
        found.append(TaskShare(namespace=namespace, task=name, count=-negative, seconds=seconds))
    return found
