"""The slots of a task: computes fire times. Pure; every instant is an aware datetime in UTC.

``cron`` tells which readings of a wall clock an expression matches, ``clock``
when the clock of a zone changes; this module combines the two. The rules:

- *follows the clock*: an expression whose minute or hour field begins with
  ``*`` fires at each instant at which the clock shows a match. So it does not
  fire for a gap, and fires at both passes of a repeated hour.
- *particular times*: any other expression names readings, each of which fires
  once, at the first instant at which the clock shows it or a later one.
- *gap*: it follows that skipped readings fire at the first instant after the
  gap; several in one gap, or in the gap and at its end, are one slot.
- *first pass*: it follows that a repeated reading fires the first time only.
- *any size*: a change by half an hour (Lord Howe), a whole day (Apia, 2011) or
  seconds (Monrovia, 1972) is treated the same. Debian's cron treats changes of
  three hours or more as corrections of the clock; the zone tells that they are
  not.
- *any reason*: summer time, negative summer time (Dublin) and changes of
  standard time are treated the same.
- *seconds*: a sixth field changes none of these rules; ``*`` in it does not
  make an expression follow the clock.
- *days*: day of month and day of week are alternatives unless one of them is
  a plain ``*`` (or ``?``, or ``*/1``); then both must match. ``*/2`` and
  ``1-31`` are not plain stars.

The rule for days is that of Kubernetes' CronJob. The rules for clock changes
are those of Debian's crontab(5) and cron(8), because CronJob does not run a
time in the gap and runs a repeated one twice. ``make truth`` proves both.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol
from zoneinfo import ZoneInfo

from carillon_core.domain.timetable.clock import (
    DAY,
    EPOCH,
    FIRST_INSTANT,
    LAST_INSTANT,
    LONGEST_SHIFT,
    ZoneClock,
    search_end,
    searches_back,
    time_of,
    whole_seconds,
    zone_clock,
)
from carillon_core.domain.timetable.cron import Cron
from carillon_core.domain.timetable.cron_text import CronError, parse_cron
from carillon_core.domain.timetable.zones import UnknownZoneError, time_zone
from carillon_core.errors import FieldProblem
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import Calendar

MICROSECOND = timedelta(microseconds=1)
LAST_DATETIME = datetime.max.replace(tzinfo=UTC)
FIRST_DATETIME = datetime.min.replace(tzinfo=UTC)


class Schedule(Protocol):
    """The slots of one task. Each call takes a bounded number of steps, however far apart the slots are."""

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None if there is none."""
        ...

    def previous_fire_time(self, until: datetime) -> datetime | None:
        """Return the last slot not later than ``until``, or None if there is none."""
        ...


class InvalidScheduleError(ValueError):
    """A schedule that cannot be read or never fires; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The slots of a cron expression in a time zone, by the rules at the top of this module."""

    cron: Cron
    zone: ZoneInfo
    clock: ZoneClock

    @property
    def expression(self) -> str:
        """Five or six fields in capitals; macros are expanded."""
        return self.cron.text

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None up to the end of the year 9999."""
        passed = max(whole_seconds(after), FIRST_INSTANT)
        if self.cron.follows_clock:
            return time_of(self._first_match(passed + 1))
        reading = self.cron.next_reading(self.clock.furthest_reading(passed) + 1)
        return None if reading is None else time_of(self.clock.reached(reading))

    def previous_fire_time(self, until: datetime) -> datetime | None:
        """Return the last slot not later than ``until``, or None down to the year 1."""
        instant = min(whole_seconds(until), LAST_INSTANT)
        if self.cron.follows_clock:
            return time_of(self._last_match(instant))
        reading = self.cron.previous_reading(self.clock.furthest_reading(instant))
        return None if reading is None else time_of(self.clock.reached(reading))

    def _first_match(self, instant: int) -> int | None:
        """Return the first instant from this one on at which the clock shows a match."""
        last = search_end(instant)
        while instant <= last:  # ends: last - instant shrinks by at least one second each time
            _, end, offset = self.clock.stretch(instant)
            reading = self.cron.next_reading(instant + offset)
            if reading is None:
                return None
            if reading - offset < end:
                return reading - offset
            # No earlier reading matches, except those that repeat after this stretch, and no clock goes back by more
            # than LONGEST_SHIFT. So a search for a rare date leaps once and does not step through every stretch.
            leap = end - instant >= LONGEST_SHIFT
            instant = max(end, instant + 1, reading - DAY if leap else end)
        return None

    def _last_match(self, instant: int) -> int | None:
        """Return the last instant up to this one at which the clock shows a match."""
        for last, first in searches_back(instant):
            found = self._last_match_between(first, last)
            if found is not None:
                return found
        return None

    def _last_match_between(self, first: int, instant: int) -> int | None:
        while instant >= first:  # ends: instant - first shrinks by at least one second each time
            start, _, offset = self.clock.stretch(instant)
            reading = self.cron.previous_reading(instant + offset)
            if reading is None:
                return None
            if reading - offset >= start:
                return reading - offset
            leap = instant - start >= LONGEST_SHIFT
            instant = min(start - 1, instant - 1, reading + DAY if leap else start - 1)
        return None


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Slot k is ``anchor + k * every``, starting with k = ``first``: slots never drift."""

    anchor: datetime
    every: timedelta
    first: int = 1

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None up to the end of the year 9999."""
        return self._slot(max(self.first, (after - self.anchor) // self.every + 1))

    def previous_fire_time(self, until: datetime) -> datetime | None:
        """Return the last slot not later than ``until``."""
        number = (until - self.anchor) // self.every
        return self._slot(number) if number >= self.first else None

    def _slot(self, number: int) -> datetime | None:
        try:
            return self.anchor + self.every * number
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class OneShotSchedule:
    """A single slot."""

    at: datetime

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the slot if it is later than ``after``."""
        return self.at if self.at > after else None

    def previous_fire_time(self, until: datetime) -> datetime | None:
        """Return the slot if it is not later than ``until``."""
        return self.at if self.at <= until else None


@dataclass(frozen=True, slots=True)
class BoundedSchedule:
    """The slots of another schedule from ``first`` to ``last``, both included."""

    unbounded: Schedule
    first: datetime | None
    last: datetime | None

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None if none is left."""
        start = after if self.first is None or after >= self.first else just_before(self.first)
        slot = self.unbounded.next_fire_time(start)
        return None if slot is None or (self.last is not None and slot > self.last) else slot

    def previous_fire_time(self, until: datetime) -> datetime | None:
        """Return the last slot not later than ``until``, or None before the first."""
        slot = self.unbounded.previous_fire_time(until if self.last is None else min(until, self.last))
        return None if slot is None or (self.first is not None and slot < self.first) else slot


@lru_cache(maxsize=4096)
def cron_schedule(expression: str, zone_name: str = "UTC") -> CronSchedule:
    """Return the schedule of a cron expression in a zone.

    Raises:
        InvalidScheduleError: If either cannot be read, or the expression can never fire.

    """
    try:
        zone = time_zone(zone_name)
        return CronSchedule(parse_cron(expression), zone, zone_clock(zone))
    except (UnknownZoneError, CronError) as error:
        raise InvalidScheduleError(str(error)) from error


def schedule_of(calendar: Calendar, created_at: datetime) -> Schedule:
    """Return the schedule of a calendar.

    Args:
        calendar: The task's calendar; its spec is one.
        created_at: When the task was created: intervals and ``durationSeconds`` count from it without ``startAt``.

    Raises:
        InvalidScheduleError: If the cron expression or the time zone is invalid.

    """
    if calendar.run_at is not None:
        return OneShotSchedule(calendar.run_at)
    schedule = _unbounded(calendar, created_at)
    last = last_time(calendar, created_at)
    return schedule if calendar.start_at is last is None else BoundedSchedule(schedule, calendar.start_at, last)


def _unbounded(calendar: Calendar, created_at: datetime) -> Schedule:
    if calendar.schedule is not None:
        return cron_schedule(calendar.schedule, calendar.time_zone or "UTC")
    if calendar.interval_seconds is not None:
        every = timedelta(seconds=calendar.interval_seconds)
        if calendar.start_at is not None:
            return IntervalSchedule(calendar.start_at, every, first=0)
        return IntervalSchedule(created_at, every)
    msg = "the spec sets no schedule: add exactly one of schedule, intervalSeconds, runAt"
    raise InvalidScheduleError(msg)


def last_time(calendar: Calendar, created_at: datetime) -> datetime | None:
    """Return the time after which there are no slots, or None without such a limit."""
    if calendar.duration_seconds is None:
        return calendar.end_at
    return later(calendar.start_at or created_at, timedelta(seconds=calendar.duration_seconds))


def schedule_problems(calendar: Calendar, created_at: datetime | None = None) -> tuple[FieldProblem, ...]:
    """Return the problems of a calendar that a schema cannot detect, by field.

    Args:
        calendar: The task's calendar; its spec is one.
        created_at: When the task was created, if it exists. Without it, bounds that count from it are not checked.

    """
    problems = []
    zone = calendar.time_zone or "UTC"
    if calendar.time_zone is not None:
        try:
            time_zone(zone)
        except UnknownZoneError as error:
            problems.append(FieldProblem("spec.timeZone", str(error)))
            zone = "UTC"
    if calendar.schedule is not None:
        try:
            cron_schedule(calendar.schedule, zone)
        except InvalidScheduleError as error:
            problems.append(FieldProblem("spec.schedule", str(error)))
    return tuple(problems) or _empty_bounds(calendar, created_at)


def _empty_bounds(calendar: Calendar, created_at: datetime | None) -> tuple[FieldProblem, ...]:
    """Return a problem if no slot lies between the bounds."""
    if (calendar.end_at is None and calendar.duration_seconds is None) or calendar.run_at is not None:
        return ()
    if calendar.start_at is not None:
        before, beginning = just_before(calendar.start_at), calendar.start_at
    elif created_at is not None:
        before = beginning = created_at
    elif calendar.interval_seconds is not None and calendar.duration_seconds is not None:
        before = beginning = EPOCH  # both count from the creation, so any instant gives the same answer
    else:
        return ()
    if schedule_of(calendar, beginning).next_fire_time(before) is not None:
        return ()
    field = "spec.durationSeconds" if calendar.end_at is None else "spec.endAt"
    first = _unbounded(calendar, beginning).next_fire_time(before)
    if first is None:
        return (FieldProblem(field, f"leaves no slot: the schedule has none after {rfc3339(beginning)}"),)
    if calendar.end_at is not None:
        why = f"must not be before the first slot, {rfc3339(first)} (got {rfc3339(calendar.end_at)})"
        return (FieldProblem(field, why),)
    least = -((beginning - first) // timedelta(seconds=1))
    return (FieldProblem(field, f"must be at least {least} to reach the first slot (got {calendar.duration_seconds})"),)


def schedule_description(calendar: Calendar) -> str:
    """Describe a calendar in a few words that differ whenever the slots differ."""
    words = ""
    if calendar.schedule is not None:
        words = f"{calendar.schedule} {calendar.time_zone}" if calendar.time_zone else calendar.schedule
    elif calendar.interval_seconds is not None:
        words = f"every {calendar.interval_seconds}s"
    elif calendar.run_at is not None:
        words = f"at {rfc3339(calendar.run_at)}"
    if calendar.start_at is not None:
        words += f" from {rfc3339(calendar.start_at)}"
    if calendar.end_at is not None:
        words += f" until {rfc3339(calendar.end_at)}"
    if calendar.duration_seconds is not None:
        words += f" for {calendar.duration_seconds}s"
    return words


def latest_fire_time(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """Return the latest slot in ``(after, until]``, or None."""
    slot = schedule.previous_fire_time(until)
    return slot if slot is not None and slot > after else None


def last_fire_times(schedule: Schedule, after: datetime, until: datetime, most: int) -> tuple[list[datetime], bool]:
    """Return the latest ``most`` slots in ``(after, until]``, oldest first, and whether earlier ones were left out.

    Steps backward from ``until``, at most ``most + 1`` times, however many slots there are.
    """
    times: list[datetime] = []
    slot = latest_fire_time(schedule, after, until)
    while slot is not None and len(times) < most:
        times.append(slot)
        slot = latest_fire_time(schedule, after, slot - MICROSECOND)
    return times[::-1], slot is not None


def fire_times(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` slots later than ``after``, or fewer if the schedule ends."""
    times: list[datetime] = []
    while len(times) < count and (slot := schedule.next_fire_time(times[-1] if times else after)) is not None:
        times.append(slot)
    return times


def jitter_offset(task_uid: str, jitter_seconds: int) -> timedelta:
    """Return the delay between a task's slots and their launches: whole seconds in [0, jitter].

    It is always the same for a task, and spread evenly over tasks.
    """
    number = int.from_bytes(blake2b(task_uid.encode(), digest_size=8).digest(), "big")
    return timedelta(seconds=number % (jitter_seconds + 1))


def just_before(when: datetime) -> datetime:
    """Return the microsecond before a time, or the time itself if it is the earliest possible."""
    return when if when <= FIRST_DATETIME else when - MICROSECOND


def launch_time(slot: datetime, offset: timedelta) -> datetime:
    """Return when to launch a slot, at most the latest possible time."""
    return later(slot, offset)


def later(when: datetime, by: timedelta) -> datetime:
    """Return a time plus a duration, at most the latest possible time."""
    return LAST_DATETIME if when > LAST_DATETIME - by else when + by
