"""Checks the outcome of a simulated year against calendars and sights, without ``decide``.

Every slot has exactly one of: a Job, a record of its own, a record of a range
that covers it. The checks are weaker only where two outcomes are correct:
between an edit and a status that was lost with its operator, where the clock
was stepped back by more than the tolerance, and where more records than a
status holds were merged while the database was down.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate

from carillon_core.domain.timetable.schedule import jitter_offset, schedule_of
from carillon_core.resources.base import rfc3339
from timeline.simulation import Launched, Sight, Trace
from timeline.weather import Weather

ON_TIME = timedelta(seconds=30)
SLACK = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
Stretches = Sequence[tuple[datetime, datetime]]


def judged(trace: Trace, weather: Weather) -> tuple[list[str], Counter[str]]:
    """Return the faults in a task's year, and the counts of slot outcomes."""
    return _Judge(trace, weather).judge()


class _Judge:
    def __init__(self, trace: Trace, weather: Weather) -> None:
        self._trace = trace
        self._spec = trace.script.spec
        self._offset = jitter_offset(trace.script.uid, self._spec.get("jitterSeconds", 0))
        late = self._offset + MINUTE
        self._end = weather.end
        self._must_be_settled = weather.end - late
        self._stepped: Stretches = [(a - MINUTE, b + MINUTE) for a, b in weather.stepped_back()]
        self._lenient: Stretches = [*self._stepped, *((a - late, b) for a, b in trace.grey)]
        self._jobs = {launch.slot: launch for launch in trace.launches}
        self._faults: list[str] = []
        self._counts: Counter[str] = Counter(trace.counts)
        rows = sorted(trace.rows.values(), key=lambda row: row.last)
        self._rows = rows
        self._singles: Counter[datetime] = Counter(row.last for row in rows if row.first == row.last)
        self._runs = [row for row in rows if row.first != row.last]
        self._lasts = [row.last for row in self._runs]
        self._earliest = list(accumulate((row.first for row in reversed(self._runs)), min))[::-1]

    def judge(self) -> tuple[list[str], Counter[str]]:
        """Run all checks."""
        for launch in self._trace.launches:
            self._judge_launch(launch)
        slots = self._judge_slots()
        for launch in self._trace.launches:
            if launch.slot not in slots and not _within(launch.slot, self._lenient):
                self._fault(launch.slot, "was launched, but is not a slot")
        if self._trace.overlaps:
            self._fault(self._trace.overlaps[0], "was launched while an execution was active")
        if self._trace.unrecorded:
            self._faults.append(f"{self._trace.script.name}: {self._trace.unrecorded} records have not been written")
        self._counts["tasks"] += 1
        for row in self._rows:
            self._counts[f"records {row.reason}"] += 1
        return self._faults, self._counts

    def _fault(self, slot: datetime, what: str) -> None:
        self._faults.append(f"{self._trace.script.name}: the slot of {rfc3339(slot)} {what}")

    def _judge_launch(self, launch: Launched) -> None:
        self._counts["launched"] += 1
        if launch.again:
            self._counts["launched again after a step back"] += 1
            if not _within(launch.slot, self._stepped):
                self._fault(launch.slot, "was launched twice")
        late = launch.at - launch.slot - self._offset - SLACK
        deadline = self._spec.get("startingDeadlineSeconds")
        if deadline is not None and late > timedelta(seconds=deadline):
            self._fault(launch.slot, f"was launched {late} late, past its deadline")
        if deadline is None and self._spec["missedRunPolicy"] == "Skip" and late > ON_TIME:
            self._fault(launch.slot, f"was launched {late} late, though the policy is Skip")

    def _judge_slots(self) -> set[datetime]:
        """Check every slot between two sights; return the slots."""
        slots: set[datetime] = set()
        sights = self._trace.sights
        ends = [*(sight.at for sight in sights[1:]), self._end]
        done = 0
        for sight, end in zip(sights, ends, strict=False):
            most = sight.calendar.max_runs if sight.calendar else None
            completed = most is not None and done >= most
            for slot in _slots(sight, end, self._trace.script.created_at):
                launched = slot in self._jobs
                if completed:
                    self._judge_after_completion(slot, launched=launched)
                    continue
                slots.add(slot)
                done += launched
                self._judge_slot(slot, sight, launched=launched, lenient=self._owed(most))
                completed = most is not None and done >= most
        return slots

    def _owed(self, most: int | None) -> bool:
        """Return whether slots may have been dropped because maxRuns was reached before they could be caught up."""
        return most is not None and len(self._jobs) >= most and self._spec["missedRunPolicy"] == "All"

    def _is_open(self, slot: datetime) -> bool:
        """Return whether a slot may be unsettled at the end: too recent, or still to be caught up."""
        owed = self._trace.owed
        return slot > self._must_be_settled or (owed is not None and owed.owes(slot))

    def _judge_after_completion(self, slot: datetime, *, launched: bool) -> None:
        self._counts["after completion"] += 1
        if launched and not _within(slot, self._lenient):
            self._fault(slot, "was launched, but the task had completed")

    def _judge_slot(self, slot: datetime, sight: Sight, *, launched: bool, lenient: bool) -> None:
        self._counts["slots"] += 1
        exact = self._singles[slot]
        merged = 0
        for at in range(bisect_left(self._lasts, slot), len(self._runs)):
            if self._earliest[at] > slot:
                break  # no later run begins early enough
            row = self._runs[at]
            if row.first <= slot:
                exact, merged = exact + row.exact, merged + (not row.exact)
        found = launched + exact
        if merged:
            self._counts["covered by a merged record"] += 1
            if found:
                self._counts["covered by a merged record besides its own"] += 1
            found = max(found, 1)
        self._counts["in a range of slots"] += not launched and not self._singles[slot]
        self._counts["within leniency"] += _within(slot, self._lenient)
        if launched and sight.blocked and not _within(slot, self._lenient):
            self._fault(slot, "was launched, but the task was suspended or invalid")
        if found == 1 or _within(slot, self._lenient) or (not found and (lenient or self._is_open(slot))):
            return
        if not found:
            self._fault(slot, "has neither a Job nor a record")
        else:
            self._fault(slot, f"has {int(launched)} Jobs and {exact} records")


def _slots(sight: Sight, end: datetime, created_at: datetime) -> Iterator[datetime]:
    if sight.calendar is None:
        return
    schedule = schedule_of(sight.calendar, created_at)
    slot = schedule.next_fire_time(sight.at)
    while slot is not None and slot <= end:
        yield slot
        slot = schedule.next_fire_time(slot)


def _within(when: datetime, stretches: Stretches) -> bool:
    return any(a <= when <= b for a, b in stretches)


def timeline_about(trace: Trace, fault: str, lines: int = 30) -> str:
    """Return the events around the slot that a fault names."""
    stamp = next((word for word in fault.split() if word[:2] == "20" and word.endswith("Z")), "")
    at = bisect_right(trace.lines, stamp, key=lambda line: line[:20])
    return "\n".join([fault, f"  {trace.script.spec}", *(f"  {x}" for x in trace.lines[max(0, at - lines) : at + 8])])
