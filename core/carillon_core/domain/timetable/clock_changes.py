"""What moving the clock does to a schedule, in one sentence for people. Pure; ``schedule.clock_changes`` calls it."""

from datetime import timedelta

from carillon_core.domain.timetable.clock import DAY, EPOCH, Change
from carillon_core.domain.timetable.cron import Cron

SHOWN = 2
"""So many times are named in a sentence."""


def clock_change_message(cron: Cron, zone: str, change: Change) -> str | None:
    """Return what a change of the clock of a zone does to an expression read in it, or None if nothing."""
    old, new = change.at + change.before, change.at + change.after
    times = _times(cron, min(old, new), max(old, new), old)
    if not times:
        return None
    moved = f"on {_date(old)} the clock of {zone} goes from {_clock_time(old, old)}"
    to = _clock_time(new, old)
    if len(times) == 1:
        left_out, repeated, added = f"{times[0]} does not exist", f"{times[0]} comes twice", "it"
        together, each = "fires once", "fires once"
    else:
        named = " and ".join(times) if len(times) == SHOWN else f"{', '.join(times[:SHOWN])} and others"
        left_out, repeated, added = f"{named} do not exist", f"{named} come twice", "them"
        together, each = "fire once, together,", "fire once each"
    if new > old:
        fate = f"nothing is added for {added}" if cron.follows_clock else f"{together} at {to}"
        return f"{moved} on to {to}: {left_out} and {fate}"
    fate = "both passes count" if cron.follows_clock else f"{each}, the first time"
    return f"{moved} back to {to}: {repeated} and {fate}"


def _times(cron: Cron, low: int, high: int, day: int) -> list[str]:
    """Return the matches in [low, high) as times of the clock: those to show, and one more if there are more."""
    times: list[str] = []
    reading = cron.next_reading(low)
    while reading is not None and reading < high and len(times) <= SHOWN:
        times.append(_clock_time(reading, day))
        reading = cron.next_reading(reading + 1)
    return times


def _clock_time(reading: int, day: int) -> str:
    """Return a reading as ``02:30``, with its date if that is another than that of ``day``."""
    shown = EPOCH + timedelta(seconds=reading)
    time = shown.strftime("%H:%M:%S" if shown.second else "%H:%M")
    return time if reading // DAY == day // DAY else f"{_date(reading)} {time}"


def _date(reading: int) -> str:
    return (EPOCH + timedelta(seconds=reading)).date().isoformat()
