"""Schedules in plain English."""

from typing import Any

import pytest

from carillon_core.domain.timetable.words import schedule_in_words
from carillon_core.resources.scheduled_task import Calendar
from support.builders import at

CRON = {
    "* * * * *": "every minute, UTC",
    "*/5 * * * *": "every 5 minutes, UTC",
    "*/7 * * * *": "at minutes 0 to 56 in steps of 7 of every hour, UTC",
    "3/15 * * * *": "at minutes 3 to 48 in steps of 15 of every hour, UTC",
    "0 * * * *": "every hour on the hour, UTC",
    "@hourly": "every hour on the hour, UTC",
    "30 * * * *": "at minute 30 of every hour, UTC",
    "5,10 * * * *": "at minutes 5 and 10 of every hour, UTC",
    "0 2 * * *": "at 02:00 every day, UTC",
    "@daily": "at 00:00 every day, UTC",
    "0 9,12,17 * * *": "at 09:00, 12:00 and 17:00 every day, UTC",
    "0 9-17 * * 1-5": "every hour from 09:00 to 17:00 on Monday to Friday, UTC",
    "*/15 9-17 * * MON,WED": "every 15 minutes from 09:00 to 17:45 on Monday and Wednesday, UTC",
    "* 9-17 * * *": "every minute from 09:00 to 17:59 every day, UTC",
    "0 */2 * * *": "every 2 hours from 00:00 to 22:00 every day, UTC",
    "0 */5 * * *": "at 00:00, 05:00, 10:00, 15:00 and 20:00 every day, UTC",
    "15 1-23/2 * * *": "every 2 hours from 01:15 to 23:15 every day, UTC",
    "*/10 8,12,13,20 * * *": "every 10 minutes in hours 8, 12, 13 and 20 every day, UTC",
    "5,50 8-11,20 * * *": "at minutes 5 and 50 of hours 8 to 11 and 20 every day, UTC",
    # neither field begins with a star: the second pass of a repeated hour does not count
    "0-59/5 0-23 * * *": "every 5 minutes from 00:00 to 23:55 every day, UTC",
    "0 0 1 * *": "at 00:00 on day 1 of the month, UTC",
    "0 0 1,15 1,7 *": "at 00:00 on days 1 and 15 of the month in January and July, UTC",
    "0 0 */2 * *": "at 00:00 on days 1 to 31 in steps of 2 of the month, UTC",
    "0 0 L * *": "at 00:00 on the last day of the month, UTC",
    "0 0 1,L MAR-MAY *": "at 00:00 on day 1 and the last day of the month in March to May, UTC",
    "0 0 LW * *": "at 00:00 on the last weekday (Monday to Friday) of the month, UTC",
    "0 0 * * 1#2": "at 00:00 on the second Monday of the month, UTC",
    "0 0 * * 5L,SUN": "at 00:00 on Sunday and the last Friday of the month, UTC",
    "0 0 13 * 5": "at 00:00 on day 13 of the month, and also on Friday, UTC",
    "0 0 13 2 5": "at 00:00 on day 13 of the month, and also on Friday, in February, UTC",
    "0 0 */2 * 5": "at 00:00 on days 1 to 31 in steps of 2 of the month, and also on Friday, UTC",
    "0 0 1,* * 5": "at 00:00 on Friday, UTC",
    "0 0 ? * SAT,SUN": "at 00:00 on Saturday and Sunday, UTC",
    "0 0 1-31 * 5": "at 00:00 every day, UTC",
    "0 0 * 12 *": "at 00:00 every day in December, UTC",
    "*/5 * * * 7": "every 5 minutes on Sunday, UTC",
    "* * * * * *": "every second, UTC",
    "*/10 * * * * *": "every 10 seconds, UTC",
    "*/7 * * * * *": "at seconds 0 to 56 in steps of 7 of every minute, UTC",
    "30 * * * * *": "at second 30 of every minute, UTC",
    "15 0 9 * * *": "at 09:00:15 every day, UTC",
    "*/20 0 9 * * 1": "every 20 seconds of these minutes: at 09:00, on Monday, UTC",
    "5,40 */5 * * * *": "at seconds 5 and 40 of these minutes: every 5 minutes, UTC",
}


@pytest.mark.parametrize("expression", CRON)
def test_a_cron_expression_in_words(expression: str) -> None:
    """As it fires: by its sets, and by the rule for days."""
    assert schedule_in_words(Calendar(schedule=expression)) == CRON[expression]


NOON = at("12:00")
OTHERS: dict[str, dict[str, Any]] = {
    "at 02:30 every day, Europe/Berlin time": {"schedule": "30 2 * * *", "time_zone": "Europe/Berlin"},
    "every hour, counted from the task's creation": {"interval_seconds": 3600},
    "every 24 hours, counted from the task's creation": {"interval_seconds": 86_400},
    "every 90 seconds, from 2026-01-01T12:00:00Z on": {"interval_seconds": 90, "start_at": NOON},
    "once, at 2026-01-01T12:00:00Z": {"run_at": NOON},
    "every second, counted from the task's creation, until 2026-01-01T12:00:00Z, at most 1 run": {
        "interval_seconds": 1,
        "end_at": NOON,
        "max_runs": 1,
    },
    "every minute, UTC, for 2 hours after the task's creation, at most 5 runs": {
        "schedule": "* * * * *",
        "duration_seconds": 7200,
        "max_runs": 5,
    },
    "every minute, UTC, from 2026-01-01T12:00:00Z on, until 2026-01-01T12:30:00Z": {
        "schedule": "* * * * *",
        "start_at": NOON,
        "duration_seconds": 1800,
    },
}


@pytest.mark.parametrize("want", OTHERS)
def test_an_interval_a_time_and_the_bounds_in_words(want: str) -> None:
    """Each bound is named; an interval says from when it counts."""
    assert schedule_in_words(Calendar(**OTHERS[want])) == want


def test_a_delay_in_words() -> None:
    """Jitter moves the launch, not the slot."""
    assert schedule_in_words(Calendar(schedule="@hourly"), 90) == (
        "every hour on the hour, UTC, launched up to 90 seconds later"
    )
