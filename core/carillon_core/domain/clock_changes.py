"""What moving the clock does to a schedule, in one sentence for people. Pure; ``schedule.clock_changes`` calls it."""

from datetime import timedelta

from carillon_core.domain.clock import DAY, EPOCH, Change
from carillon_core.domain.cron import Cron


def clock_change_message(cron: Cron, zone: str, change: Change) -> str | None:
    """Return what a change of the clock of a zone does to an expression read in it, or None if nothing."""
    old, new = change.at + change.before, change.at + change.after
    low, high = min(old, new), max(old, new)
    first = cron.next_reading(low)
    if first is None or first >= high:
        return None
    second = cron.next_reading(first + 1)
    third = None if second is None else cron.next_reading(second + 1)
    several = second is not None and second < high
    times = _clock_time(first, old)
    if several and second is not None:
        more = third is not None and third < high
        times += f"{',' if more else ' and'} {_clock_time(second, old)}{' and others' if more else ''}"
    moved = f"on {_date(old)} the clock of {zone} goes from {_clock_time(old, old)}"
    if new > old:
        to = _clock_time(new, old)
        what = (
            f"the times in between do not exist and nothing is added for {times}"
            if cron.follows_clock
            else f"{times} {'do' if several else 'does'} not exist and {'fire' if several else 'fires'} once"
            f"{', together,' if several else ''} at {to}"
        )
        return f"{moved} on to {to}: {what}"
    what = (
        f"{times} {'come' if several else 'comes'} twice and both passes count"
        if cron.follows_clock
        else f"{times} {'come' if several else 'comes'} twice and {'fire' if several else 'fires'} once, the first time"
    )
    return f"{moved} back to {_clock_time(new, old)}: {what}"


def _clock_time(reading: int, day: int) -> str:
    """Return a reading as ``02:30``, with its date if that is another than that of ``day``."""
    shown = EPOCH + timedelta(seconds=reading)
    time = shown.strftime("%H:%M:%S" if shown.second else "%H:%M")
    return time if reading // DAY == day // DAY else f"{_date(reading)} {time}"


def _date(reading: int) -> str:
    return (EPOCH + timedelta(seconds=reading)).date().isoformat()
