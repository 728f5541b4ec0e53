"""A parsed cron expression: the readings of a wall clock that it matches. Pure.

``cron_text`` parses an expression into sets of seconds, minutes, hours and
days. From these the next and previous matching *readings* are computed without
trying every minute (a reading is local time in seconds since 1970: see
``clock``). ``schedule`` maps readings to instants across clock changes.
"""

from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass, field, replace
from datetime import date

DAY = 86_400
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
LAST_ORDINAL = date.max.toordinal()
MONTHS = range(1, 13)
SUNDAY, SATURDAY = 0, 6
LONGEST_MONTH = 31
FEBRUARY, FEBRUARY_LENGTHS = 2, (28, 29)
CYCLE_MONTHS = 400 * 12
"""The Gregorian calendar repeats after 400 years, days of the week included."""


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
    """Whether day of month and day of week must both match; otherwise one of them is enough."""

    def ever_matches(self, months: frozenset[int]) -> bool:
        """Return whether some date in these months matches."""
        return any(self.matching_days(*form) for form in _month_forms(months))

    def differs_from(self, other: "DayRule", months: frozenset[int]) -> bool:
        """Return whether another rule matches other dates in these months."""
        return any(self.matching_days(*form) != other.matching_days(*form) for form in _month_forms(months))

    def matching_days(self, length: int, first_weekday: int) -> tuple[int, ...]:
        """Return the matching days of a month with a length, whose 1st is a given day of the week."""
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


def _month_forms(months: frozenset[int]) -> list[tuple[int, int]]:
    """Return the lengths of months, each with every day of the week of its 1st: all of them occur within 400 years."""
    lengths = {length for month in months for length in lengths_of(month)}
    return [(length, first_weekday) for length in lengths for first_weekday in range(7)]


def lengths_of(month: int) -> tuple[int, ...]:
    """Return the numbers of days that a month can have."""
    return FEBRUARY_LENGTHS if month == FEBRUARY else (monthrange(2001, month)[1],)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression that matches at least one reading."""

    text: str
    """Five or six fields in capitals; macros are expanded."""
    follows_clock: bool
    """Its minute or hour field begins with ``*``; otherwise it names particular times (crontab(5), cron(8))."""
    times: tuple[int, ...]
    """The matching hours and minutes, as minutes of the day."""
    seconds: tuple[int, ...]
    months: frozenset[int]
    day_rule: DayRule
    every_day: bool
    _days: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """The days that match in a month, by its length and the day of the week of its 1st: at most 28 entries."""

    @property
    def debian_runs_on_other_days(self) -> bool:
        """Whether the expression means other dates to Debian's cron.

        Debian requires both day fields to match if one begins with ``*``; CronJob and this project require it if one
        is a plain ``*``. So ``*/2`` is a star for Debian only, and ``1,*`` for CronJob only.
        """
        day, _, weekday = self.text.split()[-3:]
        debian = replace(self.day_rule, both=day.startswith(("*", "?")) or weekday.startswith(("*", "?")))
        return debian.both != self.day_rule.both and debian.differs_from(self.day_rule, self.months)

    def next_reading(self, reading: int) -> int | None:
        """Return the first matching reading at or after this one, or None if there is none by the end of 9999."""
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
        """Return the last matching reading at or before this one, or None if there is none since the year 1."""
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
        """Return the first matching day at or after this one, in days since 1970."""
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
            year, month, first = (year, month + 1, 1) if month < MONTHS[-1] else (year + 1, 1, 1)
            if year > date.max.year:
                return None
        return None

    def _previous_day(self, day: int) -> int | None:
        """Return the last matching day at or before this one, in days since 1970."""
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
            year, month, last = (year, month - 1, 31) if month > 1 else (year - 1, MONTHS[-1], 31)
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
