"""The clock of a time zone and its changes, in whole seconds. Pure; ``schedule`` steps along it.

``zoneinfo`` gives the offset at an instant but not the instants at which the
offset changes, which schedules depend on. A ``ZoneClock`` finds the changes by
probing and keeps them, so that stepping is integer arithmetic. An instant is a
number of seconds since 1970 in UTC; a *reading* is the local time at an
instant, counted in the same way.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = 86_400
SPAN_BITS = 25
"""Changes are searched and cached in spans of 2**25 s, about a year."""
PROBE_SECONDS = 2 * DAY
"""The closest changes in the database are 3.98 days apart (Africa/Freetown, 1939); a test checks this."""
LONGEST_SHIFT = 2 * DAY
"""An upper bound for every change: offsets lie within (-24 h, 24 h)."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_INSTANT = -62_135_510_400
"""0001-01-02 in UTC: the readings of every zone fit in a ``datetime``."""
LAST_INSTANT = 253_402_214_399
"""9999-12-30T23:59:59 in UTC: the readings of every zone fit in a ``datetime``."""
FOREVER = 1 << 62
"""Larger than every instant and reading: UTC is one stretch from minus this to this."""
FIRST_CHANGE = -5_364_662_400
"""1800-01-01 in UTC: before it, every clock has one offset. The database's first change is in 1835 (Amsterdam)."""
LAST_RULE_CHANGE = 4_102_444_800
"""2100-01-01 in UTC: after it, every zone keeps one yearly rule. The database's last exception is in 2087 (Morocco)."""
CALENDAR_CYCLE = 146_097 * DAY
"""400 years, after which the Gregorian calendar repeats, days of the week included."""
CYCLE = CALENDAR_CYCLE + 366 * DAY
"""A search that finds nothing in this much time after ``LAST_RULE_CHANGE`` will never find anything."""
SECOND = timedelta(seconds=1)


class Stretch(NamedTuple):
    """Instants from ``start`` up to, not including, ``end``, at which a reading is the instant plus ``offset``.

    The next stretch may have the same offset, because stretches also end where a span ends.
    """

    start: int
    end: int
    offset: int


class Change(NamedTuple):
    """A clock change: at the instant ``at`` the offset becomes ``after``."""

    at: int
    before: int
    after: int


class ZoneClock:
    """The clock of one time zone."""

    __slots__ = ("_spans", "_zone")

    def __init__(self, zone: ZoneInfo) -> None:
        """Take the zone; spans are probed when first needed."""
        self._zone = zone
        self._spans: dict[int, tuple[tuple[int, ...], tuple[Stretch, ...]]] = {}
        if zone.key == "UTC":
            always = Stretch(-FOREVER, FOREVER, 0)
            self._spans = _Always({0: ((always.start,), (always,))})

    def stretch(self, instant: int) -> Stretch:
        """Return the stretch that contains an instant."""
        number = instant >> SPAN_BITS
        try:
            starts, stretches = self._spans[number]
        except KeyError:
            starts, stretches = self._spans[number] = self._probe(number)
        if len(starts) == 1:
            return stretches[0]
        return stretches[bisect_right(starts, instant) - 1]

    def reading(self, instant: int) -> int:
        """Return the reading at an instant."""
        return instant + self.stretch(instant).offset

    def furthest_reading(self, instant: int) -> int:
        """Return the latest reading that the clock has shown up to and including an instant.

        It is the reading at the instant, except while readings repeat.
        """
        last, furthest = instant, -FOREVER
        for start, _, offset in self.stretches_back(instant, instant - LONGEST_SHIFT):
            furthest = max(furthest, last + offset)
            last = start - 1
        return furthest

    def reached(self, reading: int) -> int:
        """Return the first instant at which the clock shows a reading or a later one.

        For a repeated reading that is the first pass; for a skipped one, the first instant after the gap.
        """
        # Every offset is less than a day, so it shows the reading within a day of the same reading in UTC: one of
        # these stretches has the answer.
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
        """Yield the stretches from the one that contains ``first`` to the one that contains ``last``, in order."""
        instant = first
        while instant <= last:  # ends: last - instant shrinks by at least one second each time
            stretch = self.stretch(instant)
            yield stretch
            instant = max(stretch.end, instant + 1)

    def stretches_back(self, last: int, first: int) -> Iterator[Stretch]:
        """Yield the stretches from the one that contains ``last`` to the one that contains ``first``, latest first."""
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
            while high - low > 1:  # ends: each step halves the distance
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
    """One span that stands for every number."""

    def __missing__(self, number: int) -> tuple[tuple[int, ...], tuple[Stretch, ...]]:
        return self[0]


def search_end(instant: int) -> int:
    """Return the instant after which a forward search cannot find a first match."""
    return min(LAST_INSTANT, max(instant, LAST_RULE_CHANGE) + CYCLE)


def searches_back(instant: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges, as (last, first) instants, in which a backward search can find a match."""
    if instant > LAST_RULE_CHANGE + CYCLE:
        yield instant, instant - CYCLE
        instant = LAST_RULE_CHANGE
    yield instant, FIRST_INSTANT


@lru_cache(maxsize=1024)
def zone_clock(zone: ZoneInfo) -> ZoneClock:
    """Return the clock of a zone, shared by all its schedules."""
    return ZoneClock(zone)


def whole_seconds(when: datetime) -> int:
    """Return a time as an instant, rounded down to the second: slots lie on whole seconds."""
    since = when - EPOCH
    return since.days * DAY + since.seconds


def time_of(instant: int | None) -> datetime | None:
    """Return an instant as a time, or None if it is outside the supported range."""
    if instant is None or not FIRST_INSTANT <= instant <= LAST_INSTANT:
        return None
    return EPOCH + timedelta(seconds=instant)
