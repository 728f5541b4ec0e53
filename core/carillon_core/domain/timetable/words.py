"""A task's schedule in plain English. Pure; the API and ``carillon explain`` show it.

The words come from the parsed sets of minutes, hours and days, not from the
text of the expression. So they say when it fires: ``*/7`` is not "every 7
minutes", because the clock starts again at the full hour, and a day of month
and a day of week are joined as this project reads them.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache

from carillon_core.domain.timetable.cron import LONGEST_MONTH, MONTHS, Cron, DayRule
from carillon_core.domain.timetable.schedule import cron_schedule, later
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import Calendar

MONTH_WORDS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
DAY_WORDS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_SIXTY, _HOURS = 60, 24
_EVERY_MINUTE = "every minute"
_MOST_TIMES = 6
"""How many times of a day are listed one by one."""
_RUN, _STEPS = 3, 4
"""The shortest run of numbers that is written as "9 to 11", and the shortest one with a step."""


def schedule_in_words(calendar: Calendar, jitter_seconds: int = 0) -> str:
    """Return when the slots of a calendar are, as a phrase.

    Args:
        calendar: A calendar that is valid.
        jitter_seconds: The most that launches are delayed.

    Raises:
        InvalidScheduleError: The cron expression or the time zone is invalid.

    """
    if calendar.run_at is not None:
        words = [f"once, at {rfc3339(calendar.run_at)}"]
    elif calendar.schedule is not None:
        words = [cron_in_words(calendar.schedule, calendar.time_zone or "UTC")]
    else:
        words = [_every(calendar.interval_seconds or 0)]
        if calendar.start_at is None:
            words.append("counted from the task's creation")
    return ", ".join([*words, *_bounds(calendar, jitter_seconds)])


@lru_cache(maxsize=4096)
def cron_in_words(expression: str, zone: str) -> str:
    """Return when a cron expression fires, with its time zone.

    Raises:
        InvalidScheduleError: If one of them is invalid.

    """
    cron = cron_schedule(expression, zone).cron
    minutes = sorted({time % _SIXTY for time in cron.times})
    hours = sorted({time // _SIXTY for time in cron.times})
    # an expression that does not follow the clock does not run in both passes of an hour that repeats
    all_day = len(hours) == _HOURS and cron.follows_clock
    times, days = _around_the_clock(minutes) if all_day else _by_hours(minutes, hours), _days(cron)
    if len(cron.times) <= _MOST_TIMES and len(cron.seconds) == 1:
        words = f"at {_listed([_clock(time, cron.seconds[0]) for time in cron.times])} {days}"
    elif all_day and days == "every day":
        words = _with_seconds(times, cron.seconds)
    elif cron.seconds == (0,):
        words = f"{times} {days}"
    else:
        words = f"{_with_seconds(times, cron.seconds)}{' ' if times == _EVERY_MINUTE else ', '}{days}"
    return f"{words}, UTC" if zone == "UTC" else f"{words}, {zone} time"


def _bounds(calendar: Calendar, jitter_seconds: int) -> list[str]:
    words = []
    if calendar.start_at is not None:
        words.append(f"from {rfc3339(calendar.start_at)} on")
    if calendar.end_at is not None:
        words.append(f"until {rfc3339(calendar.end_at)}")
    if calendar.duration_seconds is not None:
        if calendar.start_at is None:
            words.append(f"for {_amount(calendar.duration_seconds)} after the task's creation")
        else:
            words.append(f"until {rfc3339(later(calendar.start_at, timedelta(seconds=calendar.duration_seconds)))}")
    if calendar.max_runs is not None:
        words.append(f"at most {_count(calendar.max_runs, 'run')}")
    if jitter_seconds:
        words.append(f"launched up to {_amount(jitter_seconds)} later")
    return words


def _every(seconds: int) -> str:
    """Return an interval. It is never in days, which a change of the clock makes longer or shorter."""
    amount = _amount(seconds)
    return f"every {amount.removeprefix('1 ')}"


def _amount(seconds: int) -> str:
    """Return a duration in the largest unit that divides it."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            return _count(seconds // length, unit)
    return _count(seconds, "second")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _with_seconds(times: str, seconds: Sequence[int]) -> str:
    """Return times with the seconds of their minutes."""
    if tuple(seconds) == (0,):
        return times
    step = _even_step(seconds) if seconds[0] == 0 else None
    if step is not None:
        every = _every(step)
        return every if times == _EVERY_MINUTE else f"{every} of these minutes: {times}"
    at = f"at {_numbers('second', seconds)} of"
    return f"{at} every minute" if times == _EVERY_MINUTE else f"{at} these minutes: {times}"


def _around_the_clock(minutes: Sequence[int]) -> str:
    """Return the minutes of every hour in words."""
    step = _even_step(minutes) if minutes[0] == 0 else None
    if step == _SIXTY:
        return "every hour on the hour"
    return f"at {_numbers('minute', minutes)} of every hour" if step is None else _every(step * _SIXTY)


def _by_hours(minutes: Sequence[int], hours: Sequence[int]) -> str:
    """Return the minutes of some hours of the day in words."""
    if len(minutes) * len(hours) <= _MOST_TIMES:
        return f"at {_listed([_clock(hour * _SIXTY + minute) for hour in hours for minute in minutes])}"
    step, hour_step = _even_step(minutes), _progression(hours)
    first, last = hours[0] * _SIXTY + minutes[0], hours[-1] * _SIXTY + minutes[-1]
    if step is not None and (hour_step == 1 or len(hours) == 1):
        return f"{_every(step * _SIXTY)} from {_clock(first)} to {_clock(last)}"
    if len(minutes) == 1 and hour_step is not None:
        return f"{_every(hour_step * 3600)} from {_clock(first)} to {_clock(last)}"
    if step is not None and step < _SIXTY and minutes[0] == 0:
        return f"{_every(step * _SIXTY)} in {_numbers('hour', hours)}"
    return f"at {_numbers('minute', minutes)} of {_numbers('hour', hours)}"


def _days(cron: Cron) -> str:
    """Return the matching days in words."""
    rule = cron.day_rule
    month = "" if len(cron.months) == len(MONTHS) else f" in {_names(MONTH_WORDS, sorted(m - 1 for m in cron.months))}"
    any_day, any_weekday = len(rule.days) == LONGEST_MONTH, len(rule.weekdays) == len(DAY_WORDS)
    if (any_day and any_weekday) if rule.both else (any_day or any_weekday):
        return f"every day{month}"
    if rule.both:  # one of them is a star
        return f"on {_weekdays(rule) if any_day else _month_days(rule)}{month}"
    return f"on {_month_days(rule)}, and also on {_weekdays(rule)}{',' if month else ''}{month}"


def _month_days(rule: DayRule) -> str:
    words = [_numbers("day", sorted(rule.days))] if rule.days else []
    if rule.last_day:
        words.append("the last day")
    if rule.last_weekday:
        words.append("the last weekday (Monday to Friday)")
    return f"{_listed(words)} of the month"


def _weekdays(rule: DayRule) -> str:
    """Return days of the week, Monday first."""
    words = [_names(DAY_WORDS, sorted((day - 1) % 7 for day in rule.weekdays))] if rule.weekdays else []
    nth = sorted(rule.nth_weekdays, key=lambda each: (each[1] % 7, (each[0] - 1) % 7))
    if nth:
        named = [f"the {_WEEKS[week]} {DAY_WORDS[(day - 1) % 7]}" for day, week in nth]
        words.append(f"{_listed(named)} of the month")
    return " and ".join(words)


def _even_step(values: Sequence[int]) -> int | None:
    """Return the distance of minutes or seconds that lie evenly around the clock, or None if they do not."""
    step = _SIXTY // len(values)
    even = len(values) * step == _SIXTY and all(value == values[0] + k * step for k, value in enumerate(values))
    return step if even else None


def _progression(values: Sequence[int]) -> int | None:
    """Return the distance between three or more values if it is always the same."""
    if len(values) < _RUN:
        return None
    step = values[1] - values[0]
    return step if all(value == values[0] + k * step for k, value in enumerate(values)) else None


def _numbers(noun: str, values: Sequence[int]) -> str:
    """Return numbers with their noun: ``minute 5``, ``hours 1, 3 and 9 to 17``, ``days 1 to 31 in steps of 2``."""
    if len(values) == 1:
        return f"{noun} {values[0]}"
    step = _progression(values)
    if step is not None and step > 1 and len(values) >= _STEPS:
        return f"{noun}s {values[0]} to {values[-1]} in steps of {step}"
    return f"{noun}s {_listed(_runs(list(map(str, range(_SIXTY))), values))}"


def _names(words: Sequence[str], values: Sequence[int]) -> str:
    return _listed(_runs(words, values))


def _runs(words: Sequence[str], values: Sequence[int]) -> list[str]:
    """Return the words of sorted values; three or more in a row become a range."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    found = []
    for run in runs:
        long = len(run) >= _RUN
        found += [f"{words[run[0]]} to {words[run[-1]]}"] if long else [words[value] for value in run]
    return found


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _clock(minute: int, second: int = 0) -> str:
    hours, minutes = divmod(minute, _SIXTY)
    return f"{hours:02}:{minutes:02}" + (f":{second:02}" if second else "")
