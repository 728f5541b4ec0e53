"""How the clock of a time zone runs: where it is moved, in whole seconds. Pure; ``schedule`` steps along it.

``zoneinfo`` tells the offset of an instant but not when it changes, and what
daylight saving does to a schedule depends on just that. A ``ZoneClock`` finds
the changes by probing and keeps them, so that the stepping is arithmetic on
integers. An instant is a number of seconds since 1970 in UTC; a *reading* is
what the clock on the wall shows then, counted in the same way.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = 86_400
SPAN_BITS = 25
"""Changes are looked for and kept by spans of 2**25 s, about a year."""
PROBE_SECONDS = 2 * DAY
"""The closest changes in the whole database lie 3.98 days apart (Africa/Freetown, 1939): a test holds this."""
LONGEST_SHIFT = 2 * DAY
"""More than any change moves the clock: offsets lie within (-24 h, 24 h)."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_INSTANT = -62_135_510_400
"""0001-01-02 in UTC: readings of every zone lie in the years that ``datetime`` knows."""
LAST_INSTANT = 253_402_214_399
"""9999-12-30T23:59:59 in UTC: the same at the other end."""
FOREVER = 1 << 62
"""Beyond every instant and reading: UTC is one stretch from minus this to this."""
FIRST_CHANGE = -5_364_662_400
"""1800-01-01 in UTC: before, each clock has one offset. The database's first change is of 1835 (Amsterdam)."""
LAST_RULE_CHANGE = 4_102_444_800
"""2100-01-01 in UTC: from then on each zone keeps to one yearly rule. The database's last is of 2087 (Morocco)."""
CALENDAR_CYCLE = 146_097 * DAY
"""400 years: the Gregorian calendar then repeats itself, days of the week included."""
CYCLE = CALENDAR_CYCLE + 366 * DAY
"""A search through this much time after ``LAST_RULE_CHANGE`` has met all that any later time holds."""
SECOND = timedelta(seconds=1)


class Stretch(NamedTuple):
    """Instants from ``start`` up to, not including, ``end``, at which a reading is the instant plus ``offset``.

    The next stretch may have the same offset: stretches also end with the span.
    """

    start: int
    end: int
    offset: int


class Change(NamedTuple):
    """The clock is moved: at the instant ``at`` its offset becomes ``after``."""

    at: int
    before: int
    after: int


class ZoneClock:
    """The clock of one time zone."""

    __slots__ = ("_spans", "_zone")

    def __init__(self, zone: ZoneInfo) -> None:
        """Know nothing yet: spans are probed when they are asked for."""
        self._zone = zone
        self._spans: dict[int, tuple[tuple[int, ...], tuple[Stretch, ...]]] = {}
        if zone.key == "UTC":
            always = Stretch(-FOREVER, FOREVER, 0)
            self._spans = _Always({0: ((always.start,), (always,))})

    def stretch(self, instant: int) -> Stretch:
        """Return the stretch in which an instant lies."""
        number = instant >> SPAN_BITS
        try:
            starts, stretches = self._spans[number]
        except KeyError:
            starts, stretches = self._spans[number] = self._probe(number)
        if len(starts) == 1:
            return stretches[0]
        return stretches[bisect_right(starts, instant) - 1]

    def reading(self, instant: int) -> int:
        """Return what the clock shows at an instant."""
        return instant + self.stretch(instant).offset

    def furthest_reading(self, instant: int) -> int:
        """Return the latest reading that the clock has shown up to an instant, that one included.

        It is the reading at the instant, except while a stretch of readings comes a second time.
        """
        last, furthest = instant, -FOREVER
        for start, _, offset in self.stretches_back(instant, instant - LONGEST_SHIFT):
            furthest = max(furthest, last + offset)
            last = start - 1
        return furthest

    def reached(self, reading: int) -> int:
        """Return the first instant at which the clock shows a reading or a later one.

        That is its first pass if the reading comes twice, and the first instant after the gap if it never comes.
        """
        # Every offset is less than a day. So the reading is not yet shown a day before it is shown in UTC, and a day
        # after, the clock is past it: one of these stretches has the answer.
        instant = reading + DAY
        for start, end, offset in self.stretches(reading - DAY, reading + DAY):
            instant = max(start, reading - offset)
            if instant < end:
                break
        return instant

    def changes(self, after: int, until: int) -> Iterator[Change]:
        """Yield the changes in ``(after, until]``, in order."""
        before = self.stretch(after).offset
        for start, _, offset in self.stretches(after, until):
            if offset != before:
                yield Change(start, before, offset)
            before = offset

    def stretches(self, first: int, last: int) -> Iterator[Stretch]:
        """Yield the stretches from the one at ``first`` to the one at ``last``, in order."""
        instant = first
        while instant <= last:  # ends: last - instant shrinks by at least one second each time
            stretch = self.stretch(instant)
            yield stretch
            instant = max(stretch.end, instant + 1)

    def stretches_back(self, last: int, first: int) -> Iterator[Stretch]:
        """Yield the stretches from the one at ``last`` back to the one at ``first``, latest first."""
        instant = last
        while instant >= first:  # ends: instant - first shrinks by at least one second each time
            stretch = self.stretch(instant)
            yield stretch
            instant = min(stretch.start, instant) - 1

    def _probe(self, number: int) -> tuple[tuple[int, ...], tuple[Stretch, ...]]:
        span_start, span_end = number << SPAN_BITS, (number + 1) << SPAN_BITS
        if span_end <= FIRST_CHANGE:
            return (-FOREVER,), (Stretch(-FOREVER, span_end, self._offset(span_start)),)
        starts, offsets = [span_start], [self._offset(span_start)]
        for probe in range(span_start, span_end, PROBE_SECONDS):
            low, high = probe, min(probe + PROBE_SECONDS, span_end - 1)
            if (offset := self._offset(high)) == offsets[-1]:
                continue
            while high - low > 1:  # ends: each time the distance is halved
                middle = (low + high) // 2
                low, high = (low, middle) if self._offset(middle) == offset else (middle, high)
            starts.append(high)
            offsets.append(offset)
        ends = [*starts[1:], span_end]
        return tuple(starts), tuple(map(Stretch, starts, ends, offsets))

    def _offset(self, instant: int) -> int:
        within = min(max(instant, FIRST_INSTANT), LAST_INSTANT)
        offset = (EPOCH + SECOND * within).astimezone(self._zone).utcoffset()
        return int(offset.total_seconds()) if offset is not None else 0


class _Always(dict[int, tuple[tuple[int, ...], tuple[Stretch, ...]]]):
    """One span for all time, whatever its number."""

    def __missing__(self, number: int) -> tuple[tuple[int, ...], tuple[Stretch, ...]]:
        return self[0]


def search_end(instant: int) -> int:
    """Return the last instant at which a search forward can find a match, if one exists."""
    return min(LAST_INSTANT, max(instant, LAST_RULE_CHANGE) + CYCLE)


def searches_back(instant: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges, each from its last instant to its first, in which a search backward can find a match."""
    if instant > LAST_RULE_CHANGE + CYCLE:
        yield instant, instant - CYCLE
        instant = LAST_RULE_CHANGE
    yield instant, FIRST_INSTANT


@lru_cache(maxsize=1024)
def zone_clock(zone: ZoneInfo) -> ZoneClock:
    """Return the clock of a zone, one for all its schedules."""
    return ZoneClock(zone)


def whole_seconds(when: datetime) -> int:
    """Return a time as an instant, rounded down to the second: slots lie on whole seconds."""
    since = when - EPOCH
    return since.days * DAY + since.seconds


def time_of(instant: int | None) -> datetime | None:
    """Return an instant as a time, or None if there is none within the calendar."""
    if instant is None or not FIRST_INSTANT <= instant <= LAST_INSTANT:
        return None
    return EPOCH + timedelta(seconds=instant)
