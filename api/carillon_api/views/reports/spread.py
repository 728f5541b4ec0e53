"""The offset at which a task shares its minutes with the fewest other launches. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from carillon_api.schemas.reports.spread import SharedMinutes, Spread
from carillon_api.views.reports.load import MINUTE, counts_of, launches_of
from carillon_api.views.reports.timeline import planned_window
from carillon_api.views.upcoming import Entry, slots_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.timetable.cron_text import MACROS
from carillon_core.domain.timetable.schedule import Schedule
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
COMPARED = DAY + 3 * HOUR
"""A day from the hour of the first slot on, with an hour on both sides into which slots may be moved."""
MOST_OWN = 2_000
"""How many slots of the task are looked at."""
MOST_OFFSETS = 60
MINUTES_OF_HOUR = 60
SECONDS_OF_MINUTE = 60
DIGITS = 3
NO_SLOTS = "the task has no slots left"
ONE_SLOT = "spec.runAt is a single time: use GET /api/v1/load to choose another"
NO_ROOM = (
    "the minute field cannot be moved: only a single minute can, or a step such as */15 if the hour field begins with *"
)
SHORT = "spec.intervalSeconds is too short to be moved by minutes"

_STEP = re.compile(r"(?:\*|(\d{1,2})(?:-59)?)/(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Offsets:
    """How far the slots of a spec may be moved, in minutes, with the new cron expression if there is one."""

    by_minutes: Mapping[int, str | None]
    why_none: str | None = None


def offsets_of(spec: ScheduledTaskSpec, most: timedelta) -> Offsets:
    """Return the offsets of a spec up to ``most``; 0 is always one of them."""
    if spec.run_at is not None:
        return Offsets({0: None}, ONE_SLOT)
    furthest = most // MINUTE
    if spec.interval_seconds is not None:
        last = min(furthest, (spec.interval_seconds - 1) // SECONDS_OF_MINUTE, MOST_OFFSETS - 1)
        return Offsets(dict.fromkeys(range(last + 1)), None if last else SHORT)
    found = {k: text for k, text in _cron_offsets(spec.schedule or "").items() if abs(k) <= furthest}
    return Offsets({0: None, **found}, None if found else NO_ROOM)


def _cron_offsets(expression: str) -> dict[int, str | None]:
    """Return other minutes of a cron expression within the same hours, by how much later they are."""
    fields = MACROS.get(expression.strip().lower(), expression).split()
    minute, hour = fields[-5], fields[-4]
    before, after = fields[:-5], fields[-4:]
    step = _STEP.fullmatch(minute)
    if minute.isdecimal():
        texts = {m - int(minute): str(m) for m in range(MINUTES_OF_HOUR)}
    elif step is not None and hour.startswith("*"):  # otherwise the rules for changes of the clock would be others
        first, every = int(step[1] or 0), int(step[2])
        texts = {m - first: f"{m}-59/{every}" for m in range(every)} if first < every < MINUTES_OF_HOUR else {}
    else:
        texts = {}
    return {k: " ".join([*before, text, *after]) for k, text in texts.items() if k}


def spread_of(schedule: Schedule, offsets: Offsets, others: Iterable[Entry], now: datetime) -> Spread:
    """Return the best offset: the fewest other launches in the fullest minute, then in all; then the smallest move.

    Args:
        schedule: The task's.
        offsets: Where its slots may be.
        others: The other tasks.
        now: The current time.

    Raises:
        TooMuchWorkError: The task's slots cannot be computed.

    """
    first = CPU_LIMIT.run(partial(schedule.next_fire_time, now))
    if first is None:
        none = SharedMinutes(most=0, mean=0)
        return Spread(offset_seconds=0, schedule=None, start_at=None, current=none, suggested=none, message=NO_SLOTS)
    start = first.replace(minute=0, second=0, microsecond=0) - HOUR
    window = planned_window(start, start + COMPARED, now)
    minutes = COMPARED // MINUTE
    counts = counts_of(launches_of(others, window, start, minutes), minutes)
    day = replace(window, before=start + HOUR + DAY)
    own = [(slot - start) // MINUTE for slot in islice(slots_of(schedule, None, day), MOST_OWN)]
    shared = {k: _shared(counts, own, k) for k in offsets.by_minutes}
    best = min(shared, key=lambda k: (shared[k].most, shared[k].mean, abs(k), k))
    text = offsets.by_minutes[best]
    return Spread(
        offset_seconds=best * SECONDS_OF_MINUTE,
        schedule=text,
        start_at=first + best * MINUTE if best and text is None else None,
        current=shared[0],
        suggested=shared[best],
        message=offsets.why_none,
    )


def _shared(counts: Sequence[int], own: Sequence[int], offset: int) -> SharedMinutes:
    found = [counts[minute + offset] for minute in own]
    return SharedMinutes(most=max(found), mean=round(sum(found) / len(found), DIGITS))
