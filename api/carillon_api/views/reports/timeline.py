"""Marks and buckets of a timeline, from the history and from the schedules. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from carillon_api.schemas.reports.timeline import TimelineBucket, TimelineMark
from carillon_api.views.reports.grouped import MOST_SLOTS, groups_of, merged_slots
from carillon_api.views.upcoming import MICROSECOND, Entry, Window, merged_times
from carillon_core.ports import Mark, StatusCount

MOST_MARKS = 2_000
"""More slots are answered by bucket."""
MOST_BUCKETS = 200
STEPS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""The lengths that a bucket may have, in seconds."""


@dataclass(frozen=True, slots=True)
class PlannedCounts:
    """How many planned slots each bucket has."""

    by_bucket: Mapping[int, int]
    """By number, from 0; buckets without slots are missing."""
    until: datetime | None
    """The first slot that may not have been counted for all tasks; None if all were."""


def planned_window(start: datetime, end: datetime, now: datetime) -> Window:
    """Return the window of the planned slots in a range: those later than now."""
    return Window(now, max(now, start - MICROSECOND), end, MOST_SLOTS)


def bucket_seconds(length: timedelta) -> int:
    """Return the length of a bucket in seconds, so that a range has at most ``MOST_BUCKETS`` of them."""
    return next((step for step in STEPS if length <= timedelta(seconds=step * MOST_BUCKETS)), STEPS[-1])


def past_marks(rows: Sequence[Mark]) -> list[TimelineMark]:
    """Return the marks of executions, earliest first; the rows begin with the newest."""
    return [
        TimelineMark(
            namespace=row.namespace,
            task=row.task,
            slot=row.slot,
            first_slot=row.first_slot,
            kind="past",
            status=row.status,
            reason=row.reason,
            execution_id=row.id,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )
        for row in reversed(rows)
    ]


def planned_marks(
    entries: Sequence[Entry], window: Window, rows: Sequence[Mark], most: int
) -> list[TimelineMark] | None:
    """Return the marks of planned slots, earliest first, without slots that are in the history; None if more than most.

    The operator's clock may be ahead of ours, so that it has launched a slot that is still to come here.
    """
    known = {(row.namespace, row.task, row.slot) for row in rows}
    reasons = {(entry.namespace, entry.name): entry.why[0] for entry in entries if entry.why is not None}
    found = [
        TimelineMark(
            namespace=namespace,
            task=task,
            slot=slot,
            first_slot=None,
            kind="planned",
            status=None,
            reason=reasons.get((namespace, task)),
            execution_id=None,
            started_at=None,
            finished_at=None,
        )
        for slot, namespace, task, _ in islice(merged_times(entries, window), most + 1)
        if (namespace, task, slot) not in known
    ]
    return found if len(found) <= most else None


def planned_counts(entries: Iterable[Entry], window: Window, start: datetime, seconds: int) -> PlannedCounts:
    """Count planned slots in buckets, of which the first begins at ``start``; at most ``window.count`` different ones.

    Slots that several tasks have count for each of them, but are computed once.
    """
    groups = groups_of(entries)
    counts: Counter[int] = Counter()
    for done, (slot, number) in enumerate(merged_slots(groups, window)):
        if done == window.count:
            return PlannedCounts(counts, slot)
        counts[(slot - start) // timedelta(seconds=seconds)] += len(groups[number].members)
    return PlannedCounts(counts, None)


def buckets_view(
    counted: Sequence[StatusCount], planned: PlannedCounts, start: datetime, seconds: int
) -> list[TimelineBucket]:
    """Return the buckets that have any slots, earliest first."""
    executions: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for item in counted:
        executions[item.bucket][item.status.word] = item.count
    return [
        TimelineBucket(
            start=start + timedelta(seconds=seconds * number),
            executions=executions.get(number, {}),
            planned=planned.by_bucket.get(number, 0),
        )
        for number in sorted({*executions, *planned.by_bucket})
    ]
