"""Compares the fire times of a CronJob with those of its task, and explains each difference. Pure.

The old times come from the model in ``robfig``, the new ones from Carillon's calculus. They may differ only where the
clock of the zone changes, for expressions that name particular times: a CronJob does not run a time that the clock
skips, and runs one that occurs twice both times; Carillon runs each once.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from carillon_cli.conversion import robfig
from carillon_cli.conversion.mapping import Timing
from carillon_core.domain.timetable.schedule import Schedule, schedule_of
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

DAYS = 400
HOUR = 3600
NAMED = 3
"""How many skipped times a sentence names."""
CLOCK = len("00:00")
MOST_STEPS = 10_000
"""How many times of an interval are compared: it goes on in the same way."""
MARGIN = 2 * robfig.DAY_SECONDS
"""No clock is changed by more than this."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result."""

    times: int
    """How often the CronJob fires."""
    at_changes: tuple[str, ...] = ()
    """A sentence for each difference at a change of the clock."""
    unexplained: tuple[str, ...] = ()
    """A sentence for each other difference."""
    uncertain: tuple[str, ...] = ()
    """A sentence for each change of the clock after which the model does not know the CronJob's times."""

    def summary(self) -> str:
        """Return the result in a few words."""
        counted = f"{self.times:,} fire time{'' if self.times == 1 else 's'} in {DAYS} days"
        if not self.at_changes and not self.unexplained:
            return f"{counted}, the same"
        parts = [f"{len(self.at_changes)} differ at changes of the clock"] if self.at_changes else []
        parts += [f"{len(self.unexplained)} differ without an explanation"] if self.unexplained else []
        return f"{counted}, {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class _Change:
    at: int
    before: int
    after: int


def compare(timing: Timing, spec: ScheduledTaskSpec, start: datetime) -> Comparison:
    """Compare the times of the ``DAYS`` days after a time.

    Args:
        timing: The CronJob's.
        spec: The task's, which is valid.
        start: Only later times count; intervals of unknown origin count from it.

    """
    start = start.replace(microsecond=0)
    after = _instant(start)
    until = after + DAYS * robfig.DAY_SECONDS
    schedule = schedule_of(spec, start)
    if isinstance(timing.schedule, robfig.Every):
        return _compare_intervals(timing.schedule, timing.anchor or start, schedule, range(after, until + 1))
    old = robfig.fire_times(timing.schedule, timing.zone, after, until)
    new = _new_times(schedule, start, until)
    changes = list(_changes(timing.zone, after - MARGIN, until + MARGIN))
    uncertain = tuple(_uncertain(timing, old, changes))
    if old == new:
        return Comparison(len(old), uncertain=uncertain)
    olds, news = set(old), set(new)
    explained: list[str] = []
    unexplained: list[str] = []
    for instant in sorted(olds ^ news):
        if instant in news:
            said = _skipped(instant, timing, changes)
        else:
            said = _repeated(instant, timing, changes, lambda first: first in news or first <= after)
        if said is None:
            who = "Carillon" if instant in news else "the CronJob"
            unexplained.append(f"only {who} runs at {_utc(instant)}, and no change of the clock explains it")
        else:
            explained.append(said)
    return Comparison(len(old), tuple(explained), tuple(unexplained), uncertain)


def _compare_intervals(every: robfig.Every, anchor: datetime, schedule: Schedule, span: range) -> Comparison:
    """Compare the times of an interval: the first ``MOST_STEPS``, and the number of all."""
    origin = _instant(anchor)
    first = max(1, (span.start - origin) // every.seconds + 1)
    times = range(origin + first * every.seconds, span.stop, every.seconds)
    old = list(times[:MOST_STEPS])
    new = _new_times(schedule, _time(span.start), old[-1] if len(times) > len(old) else span.stop - 1)
    differing = (f"an interval differs at {_utc(instant)}" for instant in sorted(set(old) ^ set(new)))
    return Comparison(len(times), unexplained=tuple(differing))


def _new_times(schedule: Schedule, start: datetime, until: int) -> list[int]:
    found: list[int] = []
    end, next_fire_time, second = _time(until), schedule.next_fire_time, robfig.SECOND
    slot = next_fire_time(start)
    while slot is not None and slot <= end:
        found.append((slot - robfig.EPOCH) // second)
        slot = next_fire_time(slot)
    return found


def _changes(zone: str, first: int, end: int) -> Iterator[_Change]:
    for one, other in pairwise(robfig.segments(zone, first, end)):
        yield _Change(other.start, one.offset, other.offset)


def _skipped(instant: int, timing: Timing, changes: Sequence[_Change]) -> str | None:
    """Return why only Carillon runs at an instant: the clock is set forward to it over times that match."""
    cron = timing.schedule
    change = next((each for each in changes if each.at == instant and each.after > each.before), None)
    if change is None or not isinstance(cron, robfig.CronTimes):
        return None
    gap = range(change.at + change.before, change.at + change.after)
    days = range(gap.start // robfig.DAY_SECONDS, gap.stop // robfig.DAY_SECONDS + 1)
    midnights = [day * robfig.DAY_SECONDS for day in days if cron.matches_day(day)]
    skipped = [midnight + time for midnight in midnights for time in cron.times_of_day() if midnight + time in gap]
    if not skipped:
        return None
    first, *others = skipped
    shown = [_local(first), *(_local(each)[-CLOCK:] for each in others[: NAMED - 1])]
    listed = f"{', '.join(shown)} and others" if len(skipped) > NAMED else " and ".join(shown)
    once = f"a CronJob does not run, Carillon runs {'once ' if others else ''}at {_local(gap.stop)[-CLOCK:]}"
    return f"{listed} {timing.zone} {'are' if others else 'is'} skipped by the clock: {once} ({_utc(instant)})"


def _repeated(instant: int, timing: Timing, changes: Sequence[_Change], runs: Callable[[int], bool]) -> str | None:
    """Return why only the CronJob runs at an instant: the clock shows its time for the second time."""
    for change in changes:
        shift = change.before - change.after
        if change.at <= instant < change.at + shift and runs(instant - shift):
            local = _local(instant + change.after)
            run = f"a CronJob runs both times, Carillon only the first time, at {_utc(instant - shift)}"
            return f"{local} {timing.zone} occurs twice: {run}"
    return None


def _uncertain(timing: Timing, old: Sequence[int], changes: Sequence[_Change]) -> Iterator[str]:
    """Yield the changes in the middle of an hour or by a part of one: the parser, which steps by hours, goes astray."""
    for change in changes:
        odd = (change.after - change.before) % HOUR or (change.at + change.before) % HOUR
        following = bisect_right(old, change.at + robfig.DAY_SECONDS) - bisect_left(old, change.at)
        if odd and following:
            when = f"{_local(change.at + change.before)} {timing.zone} the clock changes in the middle of an hour"
            if (change.at + change.before) % HOUR == 0:
                when = f"{when.removesuffix('in the middle of an hour')}by a part of an hour"
            yield f"{when}: a CronJob may miss, move or repeat times in the day that follows, Carillon does not"


def _instant(when: datetime) -> int:
    return (when - robfig.EPOCH) // robfig.SECOND


def _time(instant: int) -> datetime:
    return robfig.EPOCH + timedelta(seconds=instant)


def _utc(instant: int) -> str:
    return rfc3339(_time(instant))


def _local(reading: int) -> str:
    """Return a local time, in seconds since 1970, as ``2026-03-29 02:30``."""
    return _time(reading).strftime("%Y-%m-%d %H:%M")
