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
            always = Stretch(FIRST_INSTANT - DAY, LAST_INSTANT + DAY, 0)
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

        It is the reading itself, except while a stretch of readings comes a second time.
        """
        start, _, offset = self.stretch(instant)
        furthest = instant + offset
        while start > instant - LONGEST_SHIFT and start > FIRST_INSTANT:
            last = start - 1
            start, _, offset = self.stretch(last)
            furthest = max(furthest, last + offset)
        return furthest

    def reached(self, reading: int) -> int:
        """Return the first instant at which the clock shows a reading or a later one.

        That is its first pass if the reading comes twice, and the first instant after the gap if it never comes.
        """
        start, end, offset = self.stretch(reading - DAY)  # no offset reaches 24 h: it is not yet shown then
        while True:
            instant = max(start, reading - offset)
            if instant < end:
                return instant
            start, end, offset = self.stretch(end)

    def changes(self, after: int, until: int) -> Iterator[Change]:
        """Yield the changes in ``(after, until]``, in order."""
        _, end, before = self.stretch(after)
        while end <= until:
            at, (_, end, offset) = end, self.stretch(end)
            if offset != before:
                yield Change(at, before, offset)
            before = offset

    def _probe(self, number: int) -> tuple[tuple[int, ...], tuple[Stretch, ...]]:
        span_start, span_end = number << SPAN_BITS, (number + 1) << SPAN_BITS
        starts, offsets = [span_start], [self._offset(span_start)]
        for probe in range(span_start, span_end, PROBE_SECONDS):
            low, high = probe, min(probe + PROBE_SECONDS, span_end - 1)
            if (offset := self._offset(high)) == offsets[-1]:
                continue
            while high - low > 1:
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


@lru_cache(maxsize=1024)
def zone_clock(zone: ZoneInfo) -> ZoneClock:
    """Return the clock of a zone, one for all its schedules."""
    return ZoneClock(zone)
