"""A cron daemon, simulated by walking the clock: slow, simple, and independent of our implementation.

It reads an expression into one predicate for each field. It walks instants
tick by tick, each minute or each second, reads the clock of the zone at each,
and handles clock changes as cron(8) describes: it matches an expression with a
star in its minute or hour against the current reading; for any other it keeps
the furthest reading so far, tries all readings passed since then, and does
nothing until the clock is past it again. Its rule for day of
month and day of week is CronJob's (robfig/cron): see ``plain_star``.
"""

import struct
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

Predicate = Callable[[int], bool]

MINUTE, HOUR, DAY = 60, 3600, 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ORDINAL = date(1970, 1, 1).toordinal()
NAMES = {name: str(n) for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))} | {
    name: str(n)
    for n, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), start=1
    )
}
WARM_UP = 2 * DAY
"""How long before a window the daemon starts, to know the furthest reading; no clock change is larger."""


def instant_of(when: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    return (when - EPOCH) // timedelta(seconds=1)


def when(instant: int) -> datetime:
    """Return an instant as a time in UTC."""
    return EPOCH + timedelta(seconds=instant)


def _number(term: str) -> int:
    return int(NAMES.get(term, term))


def holds(term: str, value: int, last: int) -> bool:
    """Return whether a plain term (``*``, ``?``, ``5``, ``1-5``, each with or without ``/2``) holds for a value."""
    base, _, step = term.partition("/")
    low, dash, high = base.partition("-")
    if base in {"*", "?"}:
        begin, end = (1 if last in {31, 12} else 0), last
    else:
        begin = _number(low)
        end = _number(high) if dash else (last if step else begin)
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


def date_holds(day: str, month: str, weekday: str, of: date) -> bool:
    """Return whether the three fields of the date hold."""
    if not any(holds(term, of.month, 12) for term in month.split(",")):
        return False
    length = monthrange(of.year, of.month)[1]
    week = of.isoweekday() % 7

    def day_holds(term: str) -> bool:
        if term == "L":
            return of.day == length
        if term == "LW":
            workdays = [d for d in range(20, length + 1) if of.replace(day=d).isoweekday() <= 5]
            return of.day == workdays[-1]
        return holds(term, of.day, 31)

    def weekday_holds(term: str) -> bool:
        if "#" in term:
            name, _, nth = term.partition("#")
            same = [d for d in range(1, length + 1) if of.replace(day=d).isoweekday() % 7 == _number(name) % 7]
            return len(same) >= int(nth) and of.day == same[int(nth) - 1]
        if term[:-1].isdigit() and term.endswith("L"):
            return week == int(term[:-1]) % 7 and of.day + 7 > length
        return holds(term, week, 6) or (week == 0 and "-7" in term and holds(term, 7, 7)) or _sunday(term, week)

    by_day = any(day_holds(term) for term in day.split(","))
    by_week = any(weekday_holds(term) for term in weekday.split(","))
    if plain_star(day) or plain_star(weekday):
        return by_day and by_week
    return by_day or by_week


def plain_star(field: str) -> bool:
    """Return whether CronJob's parser sets its star bit for a field: a star whose step, if any, is 1."""
    return not {"*", "?", "*/1", "?/1"}.isdisjoint(field.split(","))


def _sunday(term: str, week: int) -> bool:
    return week == 0 and term.partition("/")[0] == "7"


class Meaning:
    """Matches readings against an expression; a reading is local time in seconds since 1970."""

    def __init__(self, expression: str) -> None:
        """Parse five or six fields; macros are not supported."""
        fields = expression.upper().split()
        self.has_seconds = len(fields) == 6
        second, minute, hour, day, month, weekday = fields if self.has_seconds else ["0", *fields]
        self.wild = minute[0] == "*" or hour[0] == "*"
        self.seconds = [any(holds(t, v, 59) for t in second.split(",")) for v in range(60)]
        minutes = [any(holds(t, v, 59) for t in minute.split(",")) for v in range(60)]
        hours = [any(holds(t, v, 23) for t in hour.split(",")) for v in range(24)]
        self.minutes = [hours[h] and minutes[m] for h in range(24) for m in range(60)]
        self.day = cache(lambda number: date_holds(day, month, weekday, date.fromordinal(number + ORDINAL)))

    def __call__(self, reading: int) -> bool:
        """Return whether a reading matches."""
        return self.minutes[reading % DAY // 60] and self.seconds[reading % 60] and self.day(reading // DAY)


@dataclass(frozen=True, slots=True)
class Window:
    """The readings of a zone, tick by tick, at each full minute or each second, from start to end.

    No clock change lies within ``WARM_UP`` before it, unless the window begins with one.
    """

    start: int
    end: int
    ticks: tuple[tuple[int, int], ...]
    """(instant, reading)"""
    by_second: bool

    @classmethod
    def walk(cls, zone: ZoneInfo, start: int, end: int, *, by_second: bool) -> "Window":
        """Read the clock at each tick."""
        offset_at = zone_offsets(zone)
        step = 1 if by_second else MINUTE
        ticks: list[tuple[int, int]] = []
        offset = offset_at(start)
        instant = start if by_second else start + -(start + offset) % MINUTE
        while instant <= end:
            now = offset_at(instant)
            if now != offset and not by_second:
                # The clock changed since the last tick: find the second at which it did.
                moved = next(t for t in range(instant - MINUTE, instant + 1) if offset_at(t) == now)
                ticks.append((moved, moved + now))
                instant = moved + (-(moved + now) % MINUTE or MINUTE)
                offset = now
                if offset_at(instant) != now:
                    raise AssertionError("two changes within a minute")
                continue
            offset = now
            ticks.append((instant, instant + now))
            instant += step
        return cls(start, end, tuple(ticks), by_second)

    def slots(self, meaning: Meaning) -> list[int]:
        """Return the instants at which the daemon starts the task."""
        if meaning.wild:
            minutes, seconds, day = meaning.minutes, meaning.seconds, meaning.day
            return [
                instant
                for instant, reading in self.ticks
                if minutes[reading % DAY // 60] and seconds[reading % 60] and day(reading // DAY)
            ]
        grain = 1 if self.by_second else MINUTE
        slots: list[int] = []
        furthest = self.ticks[0][1] - 1
        for instant, reading in self.ticks:
            if reading <= furthest:
                continue
            if reading - furthest <= grain:
                due = meaning(reading)
            else:
                passed = range(furthest + 1 + -(furthest + 1) % grain, reading + 1, grain)
                due = any(meaning(each) for each in passed)
            if due:
                slots.append(instant)
            furthest = reading
        return slots


def zone_offsets(zone: ZoneInfo) -> Callable[[int], int]:
    """Return a function that gives a zone's offset at an instant, from zoneinfo."""

    def offset(instant: int) -> int:
        shift = datetime.fromtimestamp(instant, zone).utcoffset() or timedelta()
        return shift.days * DAY + shift.seconds

    return offset


def clock_changes(zone: ZoneInfo, first: int, last: int) -> list[int]:
    """Return the instants of a zone's clock changes, found by reading the clock once a day."""
    offset_at = zone_offsets(zone)
    changes = []
    for low in range(first, last, DAY):
        before, after = offset_at(low), offset_at(low + DAY)
        if before != after:
            start, end = low, low + DAY
            while end - start > 1:
                middle = (start + end) // 2
                if offset_at(middle) == before:
                    start = middle
                else:
                    end = middle
            changes.append(end)
    return changes


def database_changes(name: str) -> list[int]:
    """Return the instants of clock changes in the time zone database (TZif, RFC 9636), without zoneinfo."""
    own = [path for folder in TZPATH if (path := Path(folder, name)).is_file()]  # the search order of zoneinfo
    data = (own[0] if own else resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))).read_bytes()
    counts = struct.unpack_from(">6l", data, 20)
    # The second block has 64-bit times; it follows the header and the body of the first.
    isut, isstd, leap, times, types, chars = counts
    body = 44 + times * 5 + types * 6 + chars + leap * 8 + isstd + isut
    _, _, _, times, types, _ = struct.unpack_from(">6l", data, body + 20)
    at = struct.unpack_from(f">{times}q", data, body + 44)
    which = struct.unpack_from(f">{times}B", data, body + 44 + times * 8)
    offsets = [struct.unpack_from(">l", data, body + 44 + times * 9 + 6 * number)[0] for number in range(types)]
    before = [0, *which][:times]
    return [t for t, old, new in zip(at, before, which, strict=True) if offsets[old] != offsets[new]]


def next_slot(expression: str, zone: ZoneInfo, after: int, years: int = 45) -> int | None:
    """Return the first slot later than an instant, by walking all matching dates; for rare dates and replays."""
    meaning = Meaning(expression)
    today = after // DAY
    for day in range(today - 2, today + years * 366):
        if meaning.day(day):
            window = Window.walk(zone, (day - 3) * DAY, (day + 2) * DAY, by_second=meaning.has_seconds)
            later = [slot for slot in window.slots(meaning) if slot > max(after, (day - 1) * DAY)]
            if later:
                return later[0]
    return None


def after_in(slots: list[int], instant: int) -> int | None:
    """Return the first of sorted slots later than an instant."""
    index = bisect_right(slots, instant)
    return slots[index] if index < len(slots) else None


def before_in(slots: list[int], instant: int) -> int | None:
    """Return the last of sorted slots not later than an instant."""
    index = bisect_right(slots, instant)
    return slots[index - 1] if index else None


def near(changes: Iterable[int], low: int, high: int) -> bool:
    """Return whether one of the changes lies in [low, high]."""
    ordered = list(changes)
    index = bisect_left(ordered, low)
    return index < len(ordered) and ordered[index] <= high
