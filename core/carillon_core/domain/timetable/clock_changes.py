"""How clock changes affect a schedule, one sentence for each change. Pure; ``advice`` calls it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from carillon_core.domain.timetable.clock import (
    DAY,
    EPOCH,
    FIRST_INSTANT,
    LAST_INSTANT,
    Change,
    time_of,
    whole_seconds,
)
from carillon_core.domain.timetable.cron import Cron
from carillon_core.domain.timetable.schedule import CronSchedule, cron_schedule, just_before, last_time, later
from carillon_core.resources.scheduled_task import Calendar

OUTLOOK = timedelta(days=20 * 366)
"""How far ahead clock changes are reported, at most: looking further would take noticeable time."""
SHOWN = 2
"""How many times of day a sentence lists."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """How one clock change affects a schedule."""

    at: datetime
    """The instant of the change."""
    message: str
    """One sentence for users."""


def clock_changes(
    calendar: Calendar, after: datetime, until: datetime, most: int, created_at: datetime | None = None
) -> list[ClockChange]:
    """Return how clock changes in ``(after, until]`` affect a calendar.

    Args:
        calendar: A valid calendar; its spec is one. Only cron expressions in a zone are affected.
        after: Changes later than this.
        until: Changes no later than this and no later than twenty years after ``after``.
        most: The maximum number of changes to return.
        created_at: When the task was created; ``durationSeconds`` may count from it.

    Raises:
        InvalidScheduleError: If the cron expression or the time zone is invalid.

    """
    if calendar.schedule is None:
        return []
    schedule = cron_schedule(calendar.schedule, calendar.time_zone or "UTC")
    first, last = calendar.start_at or created_at or after, last_time(calendar, created_at or after)
    start, end = max(after, just_before(first)), min(until, last or until)
    end = min(end, later(start, OUTLOOK))
    return list(islice(_affecting(schedule, start, end), most))


def _affecting(schedule: CronSchedule, after: datetime, until: datetime) -> Iterator[ClockChange]:
    last = min(whole_seconds(until), LAST_INSTANT)
    for change in schedule.clock.changes(max(whole_seconds(after), FIRST_INSTANT), last):
        message = clock_change_message(schedule.cron, schedule.zone.key, change)
        if message is not None and (at := time_of(change.at)) is not None:
            yield ClockChange(at, message)


def clock_change_message(cron: Cron, zone: str, change: Change) -> str | None:
    """Return how a clock change in a zone affects an expression, or None if it does not."""
    old, new = change.at + change.before, change.at + change.after
    times = _times(cron, min(old, new), max(old, new), old)
    if not times:
        return None
    to = _clock_time(new, old)
    named = _named(times)
    one = len(times) == 1
    moved = f"on {_date(old)} clocks in {zone} go {'forward' if new > old else 'back'}"
    moved += f" from {_clock_time(old, old)} to {to}"
    if new > old:
        exist = "does not exist" if one else "do not exist"
        if cron.follows_clock:
            return f"{moved}: {named} {exist} and {'does' if one else 'do'} not fire"
        return f"{moved}: {named} {exist}; {'it fires' if one else 'they fire once'} at {to} instead"
    occur, fire = ("occurs", "fires") if one else ("occur", "fire")
    which = "both times" if cron.follows_clock else "only the first time"
    return f"{moved}: {named} {occur} twice and {fire} {which}"


def _named(times: list[str]) -> str:
    """Return times of day as a list in words, shortened with "and others"."""
    if len(times) <= SHOWN:
        return " and ".join(times)
    return f"{', '.join(times[:SHOWN])} and others"


def _times(cron: Cron, low: int, high: int, day: int) -> list[str]:
    """Return the matches in [low, high) as times of day: at most one more than are shown."""
    times: list[str] = []
    reading = cron.next_reading(low)
    while reading is not None and reading < high and len(times) <= SHOWN:
        times.append(_clock_time(reading, day))
        reading = cron.next_reading(reading + 1)
    return times


def _clock_time(reading: int, day: int) -> str:
    """Return a reading as ``02:30``, with its date if that differs from the date of ``day``."""
    shown = EPOCH + timedelta(seconds=reading)
    time = shown.strftime("%H:%M:%S" if shown.second else "%H:%M")
    return time if reading // DAY == day // DAY else f"{_date(reading)} {time}"


def _date(reading: int) -> str:
    return (EPOCH + timedelta(seconds=reading)).date().isoformat()
