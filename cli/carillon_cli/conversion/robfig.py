"""A model of the schedules of a CronJob: the parser robfig/cron v3, which its controller uses. Pure.

It shares no code with Carillon's calculus, so that each can check the other. Its rule for cron expressions: an absolute
minute fires if the local time in the zone matches. So a time that the clock skips does not fire, and one that occurs
twice fires twice. ``comparison`` and ``mapping`` use this module; a test compares it with the parser's own results.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_SECONDS = 86_400
PROBE_SECONDS = 6 * 3600
"""The distance of two probes for clock changes: no zone changes its clock twice in that time."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
# Written again on purpose, like all of the model: what it shares with Carillon's own parser it could not disprove.
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EVERY = "@every "
_UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"(?P<sign>[+-]?)(?:0|(?P<parts>(?:{_PART})+))")
_NUMBER = re.compile(r"\+?[0-9]+")
_PREFIX = re.compile(r"(?:CRON_)?TZ=([^ ]*) (.*)", re.DOTALL)


class NotACronJobScheduleError(ValueError):
    """A CronJob's controller cannot read the schedule; the message says why."""


@dataclass(frozen=True, slots=True)
class Every:
    """Fires at a fixed interval, counted from the creation of the CronJob or its last run."""

    seconds: int


@dataclass(frozen=True, slots=True)
class _Bounds:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_BOUNDS = (
    _Bounds("minute", 0, 59),
    _Bounds("hour", 0, 23),
    _Bounds("day of month", 1, 31),
    _Bounds("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Bounds("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


@dataclass(frozen=True, slots=True)
class _Field:
    """The values of one field, and whether it has a plain star."""

    values: frozenset[int]
    star: bool

    def text(self) -> str:
        """Return the field as a star or a list of numbers."""
        return "*" if self.star else ",".join(map(str, sorted(self.values)))


@dataclass(frozen=True, slots=True)
class CronTimes:
    """A cron expression of five fields."""

    minute: _Field
    hour: _Field
    day: _Field
    month: _Field
    weekday: _Field

    def text(self) -> str:
        """Return an expression with the same times, of nothing but stars and lists of numbers."""
        return " ".join(each.text() for each in (self.minute, self.hour, self.day, self.month, self.weekday))

    def times_of_day(self) -> list[int]:
        """Return the times of a matching day, in seconds."""
        return [hour * 3600 + minute * 60 for hour in sorted(self.hour.values) for minute in sorted(self.minute.values)]

    def matches_day(self, day: int) -> bool:
        """Return whether a day, as a number of days since 1970, matches."""
        when = date.fromordinal(day + EPOCH_ORDINAL)
        if when.month not in self.month.values:
            return False
        by_month, by_week = when.day in self.day.values, when.isoweekday() % 7 in self.weekday.values
        return (by_month and by_week) if self.day.star or self.weekday.star else (by_month or by_week)


def split_zone(schedule: str) -> tuple[str | None, str]:
    """Return the time zone that a schedule begins with, as TZ= or CRON_TZ=, and the rest."""
    found = _PREFIX.match(schedule)
    return (found[1] or "UTC", found[2].strip()) if found else (None, schedule)


def parse(schedule: str) -> CronTimes | Every:
    """Parse a schedule without a time zone.

    Raises:
        NotACronJobScheduleError: The parser would refuse it.

    """
    if schedule.startswith("@"):
        if schedule.startswith(EVERY):
            return Every(_every_seconds(schedule.removeprefix(EVERY)))
        if schedule not in MACROS:
            raise NotACronJobScheduleError(f"{schedule!r} is not a macro: use one of {', '.join(MACROS)}")
        schedule = MACROS[schedule]
    fields = schedule.split()
    if len(fields) != len(_BOUNDS):
        raise NotACronJobScheduleError(
            f"{schedule!r} has {len(fields)} fields: write minute, hour, day of month, month, day of week"
        )
    minute, hour, day, month, weekday = map(_field, _BOUNDS, fields)
    return CronTimes(minute, hour, day, month, weekday)


def _every_seconds(duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise NotACronJobScheduleError(f"'{EVERY}{duration}' is not an interval: write one such as @every 1h30m")
    total = sum((Fraction(n) * _UNITS[unit] for n, unit in re.findall(_PART, found["parts"] or "")), Fraction(0))
    return 1 if found["sign"] == "-" else max(1, int(total))


def _field(the: _Bounds, text: str) -> _Field:
    terms = [_term(the, term) for term in text.split(",") if term]
    return _Field(frozenset().union(*(values for values, _ in terms)), any(star for _, star in terms))


def _term(the: _Bounds, term: str) -> tuple[range, bool]:
    base, *steps = term.split("/")
    low, *more = base.split("-")
    if len(steps) > 1 or (len(more) > 1 and low not in {"*", "?"}):
        raise _bad(the, f"{term!r} is not a value, a range or a step")
    star = low in {"*", "?"}
    first = the.first if star else _value(the, low)
    last = the.last if star else _value(the, more[0]) if more else first
    step = 1
    if steps:
        step = _number(the, steps[0])
        last = the.last if not more else last
    if not the.first <= first <= last <= the.last or step == 0:
        raise _bad(the, f"{term!r} must be within {the.first} and {the.last}, in ascending order, with a step above 0")
    return range(first, last + 1, step), star and step == 1


def _value(the: _Bounds, text: str) -> int:
    return the.names.index(text.lower()) + the.first if text.lower() in the.names else _number(the, text)


def _number(the: _Bounds, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _bad(the, f"{text!r} is not a number")
    return int(text)


def _bad(the: _Bounds, what: str) -> NotACronJobScheduleError:
    return NotACronJobScheduleError(f"{the.name}: {what}")


@dataclass(frozen=True, slots=True)
class Segment:
    """Instants from ``start`` up to, not including, ``end``, at which local time is the instant plus ``offset``."""

    start: int
    end: int
    offset: int


@lru_cache(maxsize=1024)
def segments(zone: str, first: int, end: int) -> tuple[Segment, ...]:
    """Return the segments of a zone's clock from the instant ``first`` up to, not including, ``end``."""
    info = ZoneInfo(zone)

    def offset_at(instant: int) -> int:
        offset = (EPOCH + timedelta(seconds=instant)).astimezone(info).utcoffset()
        return int(offset.total_seconds()) if offset is not None else 0

    found: list[Segment] = []
    start, offset = first, offset_at(first)
    for probe in range(first, end, PROBE_SECONDS):
        low, high = probe, min(probe + PROBE_SECONDS, end) - 1
        if (later := offset_at(high)) == offset:
            continue
        # the change may lie between the last probe and this one
        low -= 1
        while high - low > 1:  # ends: each step halves the distance
            middle = (low + high) // 2
            low, high = (middle, high) if offset_at(middle) == offset else (low, middle)
        found.append(Segment(start, high, offset))
        start, offset = high, later
    return (*found, Segment(start, end, offset))


def fire_times(times: CronTimes, zone: str, after: int, until: int) -> list[int]:
    """Return the instants in ``(after, until]`` at which an expression fires in a zone, in seconds since 1970."""
    of_day = times.times_of_day()
    found: list[int] = []
    if not of_day:
        return found
    for segment in segments(zone, after + 1, until + 1):
        first, end = segment.start + segment.offset, segment.end + segment.offset
        for day in range(first // DAY_SECONDS, -(-end // DAY_SECONDS)):
            if not times.matches_day(day):
                continue
            midnight = day * DAY_SECONDS
            whole = first <= midnight and midnight + DAY_SECONDS <= end
            base = midnight - segment.offset
            if whole:
                found += [base + time for time in of_day]
            else:
                found += [base + time for time in of_day if first <= midnight + time < end]
    return found
