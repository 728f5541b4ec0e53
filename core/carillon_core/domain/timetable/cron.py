"""Cron expressions: what they mean on a wall clock. Pure; ``schedule`` alone calls it.

An expression is read once into sets of seconds, minutes, hours and days, from
which the next and the previous matching *reading* follow without search by
the minute (readings are seconds since 1970 on the wall: see ``clock``). What
daylight saving makes of a reading is ``schedule``'s affair.

The language is crontab(5) of Debian's cron, with L, LW, 5L and 1#2, an
optional first field of seconds, and N/S read as CronJob reads it (from N to
the end of the field).
"""

from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from itertools import product

DAY = 86_400
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
LAST_ORDINAL = date.max.toordinal()
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
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
SUNDAY, SATURDAY = 0, 6
FIVE_FIELDS = 5
WEEKS = range(1, 6)
CYCLE_MONTHS = 400 * 12
"""The Gregorian calendar repeats itself after 400 years, days of the week included."""


class CronError(ValueError):
    """An expression that cannot be read, or that can never fire; the message tells the field and the mend."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    values: int
    """How many different values there are: a step as large as that never steps."""
    names: tuple[str, ...] = ()
    first_name: int = 0


_SECOND = _Field("second", 0, 59, 60)
_MINUTE = _Field("minute", 0, 59, 60)
_HOUR = _Field("hour", 0, 23, 24)
_DAY = _Field("day of month", 1, 31, 31)
_MONTH = _Field("month", 1, 12, 12, MONTHS, 1)
_WEEKDAY = _Field("day of week", 0, 7, 7, DAYS, 0)
FIELDS = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)


@dataclass(frozen=True, slots=True)
class DayRule:
    """Which days of a month match."""

    days: frozenset[int]
    last_day: bool
    last_weekday: bool
    """The last day of the month from Monday to Friday."""
    weekdays: frozenset[int]
    """Sunday is 0."""
    nth_weekdays: frozenset[tuple[int, int]]
    """(5, 2) is the second Friday, (5, -1) the last."""
    both: bool
    """Day of month and day of week must both match, because one of them begins with ``*``; else either does."""

    def matching_days(self, length: int, first_weekday: int) -> tuple[int, ...]:
        """Return the days that match in a month of that length whose 1st is that day of the week."""
        return tuple(day for day in range(1, length + 1) if self._matches(day, length, first_weekday))

    def _matches(self, day: int, length: int, first_weekday: int) -> bool:
        weekday = (first_weekday + day - 1) % 7
        last = (first_weekday + length - 1) % 7
        last_working_day = length - {SATURDAY: 1, SUNDAY: 2}.get(last, 0)
        by_month = (
            day in self.days or (self.last_day and day == length) or (self.last_weekday and day == last_working_day)
        )
        by_week = (
            weekday in self.weekdays
            or (weekday, (day + 6) // 7) in self.nth_weekdays
            or ((weekday, -1) in self.nth_weekdays and day + 7 > length)
        )
        return (by_month and by_week) if self.both else (by_month or by_week)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression that can be read and that matches some reading."""

    text: str
    """Five or six fields in capitals; macros are expanded."""
    follows_clock: bool
    """Its minute or hour field begins with ``*``; else it means particular times (crontab(5), cron(8))."""
    times: tuple[int, ...]
    """The matching hours and minutes, as minutes of the day."""
    seconds: tuple[int, ...]
    months: frozenset[int]
    day_rule: DayRule
    every_day: bool
    _days: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """The days that match in a month, by its length and the day of the week of its 1st: at most 28 entries."""

    def next_reading(self, reading: int) -> int | None:
        """Return the first matching reading from this one on, or None up to the end of the year 9999."""
        day, second_of_day = divmod(reading, DAY)
        found = day if self.every_day and day + EPOCH_ORDINAL <= LAST_ORDINAL else self._next_day(day)
        if found == day:
            minute, second = divmod(second_of_day, 60)
            seconds = self.seconds
            index = bisect_left(self.times, minute)
            if index < len(self.times):
                if self.times[index] > minute:
                    return day * DAY + self.times[index] * 60 + seconds[0]
                if second <= seconds[-1]:
                    return day * DAY + minute * 60 + seconds[bisect_left(seconds, second)]
                if index + 1 < len(self.times):
                    return day * DAY + self.times[index + 1] * 60 + seconds[0]
            found = self._next_day(day + 1)
        return None if found is None else found * DAY + self.times[0] * 60 + self.seconds[0]

    def previous_reading(self, reading: int) -> int | None:
        """Return the last matching reading up to this one, or None down to the year 1."""
        day, second_of_day = divmod(reading, DAY)
        found = self._previous_day(day)
        if found == day:
            minute, second = divmod(second_of_day, 60)
            seconds = self.seconds
            index = bisect_right(self.times, minute) - 1
            if index >= 0:
                if self.times[index] < minute:
                    return day * DAY + self.times[index] * 60 + seconds[-1]
                if second >= seconds[0]:
                    return day * DAY + minute * 60 + seconds[bisect_right(seconds, second) - 1]
                if index > 0:
                    return day * DAY + self.times[index - 1] * 60 + seconds[-1]
            found = self._previous_day(day - 1)
        return None if found is None else found * DAY + self.times[-1] * 60 + self.seconds[-1]

    def _next_day(self, day: int) -> int | None:
        """Return the first matching day from this one on, in days since 1970."""
        ordinal = day + EPOCH_ORDINAL
        if not 1 <= ordinal <= LAST_ORDINAL:
            return None
        if self.every_day:
            return day
        start = date.fromordinal(ordinal)
        year, month, first = start.year, start.month, start.day
        for _ in range(CYCLE_MONTHS + 1):
            if month in self.months:
                days = self._days_of(year, month)
                if days and days[-1] >= first:
                    return date(year, month, days[bisect_left(days, first)]).toordinal() - EPOCH_ORDINAL
            year, month, first = (year, month + 1, 1) if month < len(MONTHS) else (year + 1, 1, 1)
            if year > date.max.year:
                return None
        return None

    def _previous_day(self, day: int) -> int | None:
        """Return the last matching day up to this one, in days since 1970."""
        ordinal = day + EPOCH_ORDINAL
        if not 1 <= ordinal <= LAST_ORDINAL:
            return None
        if self.every_day:
            return day
        start = date.fromordinal(ordinal)
        year, month, last = start.year, start.month, start.day
        for _ in range(CYCLE_MONTHS + 1):
            if month in self.months:
                days = self._days_of(year, month)
                if days and days[0] <= last:
                    return date(year, month, days[bisect_right(days, last) - 1]).toordinal() - EPOCH_ORDINAL
            year, month, last = (year, month - 1, 31) if month > 1 else (year - 1, len(MONTHS), 31)
            if year < 1:
                return None
        return None

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        monday_based, length = monthrange(year, month)
        key = (length, monday_based)
        days = self._days.get(key)
        if days is None:
            days = self._days[key] = self.day_rule.matching_days(length, (monday_based + 1) % 7)
        return days


def parse_cron(expression: str) -> Cron:
    """Return a cron expression, read.

    Raises:
        CronError: If it cannot be read, can never fire, or would not mean what it seems to.

    """
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise CronError(f"{text!r} is not a macro: use one of {', '.join(MACROS)}, or five fields")
        text = MACROS[text.lower()]
    fields = [field.upper() if field.isascii() else field for field in text.split()]  # upper() makes an S of a long s
    if len(fields) not in {FIVE_FIELDS, len(FIELDS)}:
        raise CronError(
            f"{text!r} has {len(fields)} fields: write five (minute, hour, day of month, month, day of week), "
            "or six with seconds first"
        )
    second, minute, hour, day, month, weekday = fields if len(fields) == len(FIELDS) else ["0", *fields]
    try:
        seconds, minutes, hours = _values(_SECOND, second), _values(_MINUTE, minute), _values(_HOUR, hour)
        days, last_day, last_weekday = _days(day)
        months = frozenset(_values(_MONTH, month))
        weekdays, nth_weekdays = _weekdays(weekday)
    except CronError as error:
        raise CronError(f"{expression!r} is not a cron expression: correct its {error}") from None
    rule = DayRule(
        days=frozenset(days),
        last_day=last_day,
        last_weekday=last_weekday,
        weekdays=frozenset(weekdays),
        nth_weekdays=frozenset(nth_weekdays),
        both=day.startswith("*") or weekday.startswith("*"),
    )
    if not _ever_fires(rule, months):
        raise CronError(f"{expression!r} never fires: no date matches it, correct its day of month or its month")
    return Cron(
        text=" ".join(fields),
        follows_clock=minute.startswith("*") or hour.startswith("*"),
        times=tuple(sorted(h * 60 + m for h, m in product(hours, minutes))),
        seconds=tuple(sorted(seconds)),
        months=months,
        day_rule=rule,
        every_day=len(months) == len(MONTHS) and all(len(rule.matching_days(31, first)) == 31 for first in range(7)),  # noqa: PLR2004  # the longest month
    )


def _ever_fires(rule: DayRule, months: frozenset[int]) -> bool:
    """Return whether some date matches: each month begins, in 400 years, on each day of the week at each length."""
    lengths = {length for month in months for length in ((28, 29) if month == 2 else (monthrange(2001, month)[1],))}  # noqa: PLR2004  # February
    return any(rule.matching_days(length, first) for length in lengths for first in range(7))


def _values(the: _Field, text: str) -> set[int]:
    return {value for term in text.split(",") for value in _term(the, term)}


def _days(text: str) -> tuple[set[int], bool, bool]:
    """Return a day of month field as days, whether the last day is meant, and whether the last weekday is."""
    terms = text.split(",")
    days = {value for term in terms if term not in {"L", "LW"} for value in _term(_DAY, term)}
    return days, "L" in terms, "LW" in terms


def _weekdays(text: str) -> tuple[set[int], set[tuple[int, int]]]:
    """Return a day of week field as days of every week, and as n-th or last ones of the month."""
    weekdays: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for term in text.split(","):
        day, hash_sign, week = term.partition("#")
        if hash_sign:
            if not (week.isascii() and week.isdigit() and int(week) in WEEKS):
                raise _bad(_WEEKDAY, f"{term!r} does not name a week from 1 to 5")
            nth.add((_value(_WEEKDAY, day) % 7, int(week)))
        elif len(term) > 1 and term.endswith("L") and term[:-1].isdigit():
            nth.add((_value(_WEEKDAY, term[:-1]) % 7, -1))
        else:
            weekdays |= {value % 7 for value in _term(_WEEKDAY, term)}
    return weekdays, nth


def _term(the: _Field, term: str) -> range:
    base, slash, step_text = term.partition("/")
    step = 1
    if slash:
        if not (step_text.isascii() and step_text.isdigit() and int(step_text)):
            raise _bad(the, f"the step of {term!r} is not a whole number from 1 on")
        step = int(step_text)
        if step >= the.values:
            raise _bad(the, f"the step /{step} never steps, use one below {the.values} or a plain value")
    first_text, dash, last_text = base.partition("-")
    if base == "*":
        first, last = the.first, _end(the)
    elif dash:
        first, last = _value(the, first_text), _value(the, last_text)
        if last < first:
            raise _bad(the, f"{base!r} ends before it begins, write two ranges")
    else:
        first = _value(the, base)
        last = max(first, _end(the)) if slash else first
    return range(first, last + 1, step)


def _end(the: _Field) -> int:
    return SATURDAY if the is _WEEKDAY else the.last


def _value(the: _Field, text: str) -> int:
    if text in the.names:
        return the.names.index(text) + the.first_name
    if not (text.isascii() and text.isdigit()):
        raise _bad(the, f"{text!r} is not a number" if text else "a value is missing")
    if not the.first <= int(text) <= the.last:
        raise _bad(the, f"{text} is not from {the.first} to {the.last}")
    return int(text)


def _bad(the: _Field, what: str) -> CronError:
    return CronError(f"{the.name} ({what})")
