"""What daylight saving does to a schedule, one sentence for each change of the clock. Pure; ``advice`` calls it."""

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
"""How many times of day a sentence names."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """What moving the clock does to a schedule."""

    at: datetime
    """The instant at which the clock is moved."""
    message: str
    """One sentence for people."""


def clock_changes(
    calendar: Calendar, after: datetime, until: datetime, most: int, created_at: datetime | None = None
) -> list[ClockChange]:
    """Return what daylight saving does to a calendar in ``(after, until]``.

    Args:
        calendar: A valid calendar; its spec is one. Only a cron expression in a zone is ever affected.
        after: Changes later than this.
        until: Changes no later than this, and no later than twenty years after the former.
        most: The number of changes to return, at most.
        created_at: The task's creation, from which ``durationSeconds`` may count.

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
    """Return what a change of the clock of a zone does to an expression read in it, or None if nothing."""
    old, new = change.at + change.before, change.at + change.after
    times = _times(cron, min(old, new), max(old, new), old)
    if not times:
        return None
    moved = f"on {_date(old)} the clock of {zone} goes from {_clock_time(old, old)}"
    to = _clock_time(new, old)
    if len(times) == 1:
        left_out, repeated, added = f"{times[0]} does not exist", f"{times[0]} comes twice", "it"
        together, each = "fires once", "fires once"
    else:
        named = " and ".join(times) if len(times) == SHOWN else f"{', '.join(times[:SHOWN])} and others"
        left_out, repeated, added = f"{named} do not exist", f"{named} come twice", "them"
        together, each = "fire once, together,", "fire once each"
    if new > old:
        fate = f"nothing is added for {added}" if cron.follows_clock else f"{together} at {to}"
        return f"{moved} on to {to}: {left_out} and {fate}"
    fate = "both passes count" if cron.follows_clock else f"{each}, the first time"
    return f"{moved} back to {to}: {repeated} and {fate}"


def _times(cron: Cron, low: int, high: int, day: int) -> list[str]:
    """Return the matches in [low, high) as times of the clock: those to show, and one more if there are more."""
    times: list[str] = []
    reading = cron.next_reading(low)
    while reading is not None and reading < high and len(times) <= SHOWN:
        times.append(_clock_time(reading, day))
        reading = cron.next_reading(reading + 1)
    return times


def _clock_time(reading: int, day: int) -> str:
    """Return a reading as ``02:30``, with its date if that is another than that of ``day``."""
    shown = EPOCH + timedelta(seconds=reading)
    time = shown.strftime("%H:%M:%S" if shown.second else "%H:%M")
    return time if reading // DAY == day // DAY else f"{_date(reading)} {time}"


def _date(reading: int) -> str:
    return (EPOCH + timedelta(seconds=reading)).date().isoformat()
