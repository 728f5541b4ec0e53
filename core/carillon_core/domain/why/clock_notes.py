"""What a clock change did to the slot that somebody asks about. Pure; ``question`` calls it.

In spring, readings of a clock are skipped: an instant after the change stands
for the reading that the clock would have shown without it, so that both
``02:30`` in the zone and its instant find what became of 02:30. In autumn,
readings are repeated, and particular times fire in the first pass only.
"""

from dataclasses import dataclass
from datetime import datetime

from carillon_core.domain.timetable.clock import LONGEST_SHIFT, Change, time_of, whole_seconds
from carillon_core.domain.timetable.clock_changes import clock_change_message
from carillon_core.domain.timetable.schedule import CronSchedule


@dataclass(frozen=True, slots=True)
class ClockNote:
    """What a clock change did to a slot near an instant."""

    message: str
    """One sentence about the change and the times of day that it affects."""
    moved_to: datetime | None = None
    """When a slot of the skipped readings fires instead; None if it does not fire."""


def missed_reading(cron: CronSchedule, start: datetime, seconds: int) -> ClockNote | None:
    """Return what a clock change did to a slot in ``[start, start + seconds)``, which has none; None if none did."""
    instant = whole_seconds(start)
    change = _change_before(cron, instant)
    if change is None:
        return None
    jumped = change.after > change.before
    reading = instant + (change.before if jumped else change.after)
    matched = cron.cron.next_reading(reading)
    if matched is None or matched >= reading + seconds:
        return None
    message = clock_change_message(cron.cron, cron.zone.key, change)
    if message is None or (not jumped and cron.cron.follows_clock):
        return None
    return ClockNote(message, time_of(change.at) if jumped and not cron.cron.follows_clock else None)


def note_of_slot(cron: CronSchedule, slot: datetime) -> str | None:
    """Return what a clock change did to a slot: it was moved to the end of a gap, or fires in a repeated hour."""
    instant = whole_seconds(slot)
    change = _change_before(cron, instant)
    if change is None:
        return None
    jumped = change.after > change.before
    if jumped and (instant != change.at or cron.cron.follows_clock):
        return None
    return clock_change_message(cron.cron, cron.zone.key, change)


def _change_before(cron: CronSchedule, instant: int) -> Change | None:
    """Return the clock change whose skipped or repeated readings an instant stands for."""
    found = None
    for change in cron.clock.changes(instant - LONGEST_SHIFT, instant):
        if instant < change.at + abs(change.after - change.before):
            found = change
    return found
