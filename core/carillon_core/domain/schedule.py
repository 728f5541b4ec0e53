"""When a task's slots are: the calculus of fire times. Pure; every instant is an aware datetime in UTC.

Cron is stepped by cronsim, which reads expressions as Debian's cron does:
day of month and day of week are alternatives unless one of them begins with
``*``; around daylight saving a schedule with ``*`` in its minute or hour
follows the clock as it runs, while any other means particular times, each of
which fires once (crontab(5), cron(8)).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from carillon_core.errors import FieldProblem
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

SECOND = timedelta(seconds=1)
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The macros of crontab(5), but for @reboot, which is no time."""
FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
FIELD_SPANS = (60, 60, 24, 31, 12, 7)
"""How many values each field has: a step as large as that never steps."""
LOOK_BACKS = tuple(timedelta(seconds=s) for s in (60, 3600, 86_400, 31 * 86_400, 366 * 86_400, 9 * 366 * 86_400))
"""Windows in which the latest fire time is looked for, each about as many steps as the one before."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Schedule(Protocol):
    """The slots of one task."""

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None if there is none."""
        ...


class InvalidScheduleError(ValueError):
    """A schedule that cannot be read, or that can never fire; the message tells the mend."""


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The slots of a cron expression in a time zone."""

    expression: str
    """Five or six fields; macros are expanded."""
    zone: ZoneInfo

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the first slot later than ``after``, or None within the next 50 years."""
        local = after.astimezone(UTC if self.zone.key == "UTC" else self.zone)
        # The second pass of a repeated hour maps to slots of its first pass: step past them.
        for slot in CronSim(self.expression, local):
            as_utc = slot.astimezone(UTC)
            if as_utc > after:
                return as_utc
        return None


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Slot k is ``anchor + k * every``, k from 1: it never drifts."""

    anchor: datetime
    every: timedelta

    def next_fire_time(self, after: datetime) -> datetime:
        """Return the first slot later than ``after``."""
        return self.anchor + self.every * max(1, (after - self.anchor) // self.every + 1)


@dataclass(frozen=True, slots=True)
class OneShotSchedule:
    """One slot."""

    at: datetime

    def next_fire_time(self, after: datetime) -> datetime | None:
        """Return the slot if it is later than ``after``."""
        return self.at if self.at > after else None


@lru_cache(maxsize=4096)
def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone of that name.

    Raises:
        InvalidScheduleError: If there is none.

    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # what zoneinfo raises depends on how the name is wrong
        msg = f"{name!r} is not an IANA time zone: write one such as Europe/Berlin, or leave timeZone out for UTC"
        raise InvalidScheduleError(msg) from error


@lru_cache(maxsize=4096)
def cron_schedule(expression: str, zone_name: str = "UTC") -> CronSchedule:
    """Return the schedule of a cron expression in a zone.

    Raises:
        InvalidScheduleError: If either cannot be read, or the expression can never fire.

    """
    zone = time_zone(zone_name)
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            msg = f"{text!r} is not a macro: use one of {', '.join(MACROS)}, or five fields"
            raise InvalidScheduleError(msg)
        text = MACROS[text.lower()]
    _check_fields(text)
    try:
        fires = CronSim(text, EPOCH)
    except CronSimError as error:
        if _fires_in_other_months(text):
            raise InvalidScheduleError(_never_fires(expression)) from error
        field = str(error).removeprefix("Bad ").replace("-", " ")
        msg = f"{expression!r} is not a cron expression: correct its {field}"
        raise InvalidScheduleError(msg) from error
    if next(fires, None) is None:
        raise InvalidScheduleError(_never_fires(expression))
    return CronSchedule(text, zone)


def _never_fires(expression: str) -> str:
    return f"{expression!r} never fires: no date matches it, correct its day of month or its month"


def _fires_in_other_months(text: str) -> bool:
    """Return whether the expression could be read if its months were others: 31 February is a date that never is."""
    fields = text.split()
    try:
        CronSim(" ".join([*fields[:-2], "*", fields[-1]]), EPOCH)
        CronSim(" ".join(["* * *", fields[-2], "*"]), EPOCH)
    except CronSimError:
        return False
    return True


def _check_fields(text: str) -> None:
    """Refuse what cronsim would take but what does not mean what it seems to."""
    fields = text.split()
    if len(fields) not in {5, 6}:
        msg = (
            f"{text!r} has {len(fields)} fields: write five (minute, hour, day of month, month, day of week), "
            "or six with seconds first"
        )
        raise InvalidScheduleError(msg)
    for name, span, field in zip(FIELDS[-len(fields) :], FIELD_SPANS[-len(fields) :], fields, strict=True):
        for term in field.split(","):
            _, slash, step = term.partition("/")
            if slash and step.isascii() and step.isdigit() and int(step) >= span:
                msg = f"the step /{step} in the {name} never steps: use one below {span}, or a plain value"
                raise InvalidScheduleError(msg)


def schedule_of(spec: ScheduledTaskSpec, created_at: datetime) -> Schedule:
    """Return the schedule that a spec asks for.

    Args:
        spec: The task's spec.
        created_at: The task's creation, from which an interval counts.

    Raises:
        InvalidScheduleError: If the cron expression or the time zone is none.

    """
    if spec.schedule is not None:
        return cron_schedule(spec.schedule, spec.time_zone or "UTC")
    if spec.interval_seconds is not None:
        return IntervalSchedule(created_at, timedelta(seconds=spec.interval_seconds))
    if spec.run_at is not None:
        return OneShotSchedule(spec.run_at)
    msg = "the spec says no time to run"
    raise InvalidScheduleError(msg)


def schedule_problems(spec: ScheduledTaskSpec) -> tuple[FieldProblem, ...]:
    """Return what is wrong with a spec's schedule that no schema can see, field by field."""
    problems = []
    zone = spec.time_zone or "UTC"
    if spec.time_zone is not None:
        try:
            time_zone(zone)
        except InvalidScheduleError as error:
            problems.append(FieldProblem("spec.timeZone", str(error)))
            zone = "UTC"
    if spec.schedule is not None:
        try:
            cron_schedule(spec.schedule, zone)
        except InvalidScheduleError as error:
            problems.append(FieldProblem("spec.schedule", str(error)))
    return tuple(problems)


def schedule_description(spec: ScheduledTaskSpec) -> str:
    """Return the schedule in a few words; two specs have the same words only if they have the same slots."""
    if spec.schedule is not None:
        return f"{spec.schedule} {spec.time_zone}" if spec.time_zone else spec.schedule
    if spec.interval_seconds is not None:
        return f"every {spec.interval_seconds}s"
    return f"at {rfc3339(spec.run_at)}" if spec.run_at is not None else ""


def latest_fire_time(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """Return the latest slot in ``(after, until]``, or None.

    Takes a bounded number of steps, however many slots lie in between: the
    window before ``until`` grows until a slot is in it, and only then is that
    window walked.
    """
    first = schedule.next_fire_time(after)
    if first is None or first > until:
        return None
    for look_back in LOOK_BACKS:
        start = max(until - look_back, first - SECOND)
        slot = schedule.next_fire_time(start)
        if slot is not None and slot <= until:
            return _last_of_window(schedule, slot, until)
    return _last_of_window(schedule, first, until)


def _last_of_window(schedule: Schedule, slot: datetime, until: datetime) -> datetime:
    while (later := schedule.next_fire_time(slot)) is not None and later <= until:
        slot = later
    return slot


def fire_times(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` slots later than ``after``, or as many as there are."""
    times: list[datetime] = []
    while len(times) < count and (slot := schedule.next_fire_time(times[-1] if times else after)) is not None:
        times.append(slot)
    return times
