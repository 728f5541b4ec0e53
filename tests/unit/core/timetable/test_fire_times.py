"""When a cron schedule fires, forward and backward, and the cost of finding out. Times are in UTC."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from carillon_core.domain.timetable.clock import ZoneClock
from carillon_core.domain.timetable.cron import Cron
from carillon_core.domain.timetable.schedule import (
    IntervalSchedule,
    Schedule,
    cron_schedule,
    fire_times,
    last_fire_times,
    latest_fire_time,
)
from support.builders import at
from support.calendars import utc

NEXT = {
    "five fields, each minute": ("* * * * *", "UTC", "2026-01-01 00:00:30", "2026-01-01 00:01"),
    "a slot is later than the instant asked for": ("*/5 * * * *", "UTC", "2026-01-01 00:05", "2026-01-01 00:10"),
    "six fields begin with seconds": ("*/10 * * * * *", "UTC", "2026-01-01 00:00:05", "2026-01-01 00:00:10"),
    "a macro": ("@daily", "UTC", "2026-01-01 10:00", "2026-01-02 00:00"),
    "names of days and months": ("0 9 * mar mon", "UTC", "2026-01-01 00:00", "2026-03-02 09:00"),
    "the last day of a month": ("0 0 L * *", "UTC", "2026-02-01 00:00", "2026-02-28 00:00"),
    "the last weekday of a month": ("0 0 LW * *", "UTC", "2026-05-01 00:00", "2026-05-29 00:00"),
    "the second Tuesday": ("0 0 * * 2#2", "UTC", "2026-01-01 00:00", "2026-01-13 00:00"),
    "day of month or day of week, when neither has a star": (
        "0 0 13 * 5",
        "UTC",
        "2026-01-03 00:00",
        "2026-01-09 00:00",
    ),
    "day of month and day of week, when one is a star": ("0 0 */1 * 5", "UTC", "2026-01-01 00:00", "2026-01-02 00:00"),
    "a question mark is a star": ("0 0 ? * 5", "UTC", "2026-01-01 00:00", "2026-01-02 00:00"),
    "day of month or day of week, when the star has a step": (
        "0 0 */2 * 5",
        "UTC",
        "2026-01-02 00:00",
        "2026-01-03 00:00",
    ),
    "29 February": ("0 0 29 2 *", "UTC", "2026-01-01 00:00", "2028-02-29 00:00"),
    "a zone east of Greenwich": ("0 9 * * *", "Asia/Tokyo", "2026-01-01 00:30", "2026-01-02 00:00"),
    "a time in the gap fires at the first instant after it": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28 02:00",
        "2026-03-29 01:00",
    ),
    "a time in the gap fires once": ("30 2 * * *", "Europe/Berlin", "2026-03-29 01:00", "2026-03-30 00:30"),
    "a repeated time fires the first time": ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30"),
    "a repeated time does not fire the second time": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-25 00:30",
        "2026-10-26 01:30",
    ),
    "asked between its two passes, a repeated time is over": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-25 01:10",
        "2026-10-26 01:30",
    ),
    "a schedule with a star adds nothing in the gap": (
        "*/30 * * * *",
        "Europe/Berlin",
        "2026-03-29 00:30",
        "2026-03-29 01:00",
    ),
    "a schedule with a star counts the repeated hour twice": (
        "0 * * * *",
        "Europe/Berlin",
        "2026-10-25 00:00",
        "2026-10-25 01:00",
    ),
    "a star in the hour field alone follows the clock too": (
        "30 * * * *",
        "Europe/Berlin",
        "2026-10-25 00:30",
        "2026-10-25 01:30",
    ),
    "a step of a star follows the clock": ("0 */2 * * *", "Europe/Berlin", "2026-03-29 00:30", "2026-03-29 02:00"),
    "the whole field as a range means particular times": (
        "0 0-23 * * *",
        "Europe/Berlin",
        "2026-10-25 00:00",
        "2026-10-25 02:00",
    ),
    "six fields: a time in the gap fires at the first instant after it": (
        "15 30 2 * * *",
        "Europe/Berlin",
        "2026-03-28 02:00",
        "2026-03-29 01:00",
    ),
    "six fields: a star in the seconds does not follow the clock": (
        "* 30 2 * * *",
        "Europe/Berlin",
        "2026-10-25 00:30:59",
        "2026-10-26 01:30",
    ),
    "two times in one gap are one slot": ("15,45 2 * * *", "Europe/Berlin", "2026-03-29 01:00", "2026-03-30 00:15"),
    "a time in the gap and one at its end are one slot": (
        "30 2,3 * * *",
        "Europe/Berlin",
        "2026-03-29 01:00",
        "2026-03-29 01:30",
    ),
    "a gap of half an hour": ("10 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00", "2026-10-03 15:30"),
    "a repeated half hour": ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 14:46", "2026-04-05 15:15"),
    "a gap at midnight": ("30 0 * * *", "America/Havana", "2026-03-08 04:00", "2026-03-08 05:00"),
    "a clock set back over midnight repeats the end of yesterday": (
        "30 23 * * *",
        "America/Asuncion",
        "2024-03-24 02:30",
        "2024-03-25 03:30",
    ),
    "a date that was left out fires once, when the next one begins": (
        "0 9 30 12 *",
        "Pacific/Apia",
        "2011-01-01 00:00",
        "2011-12-30 10:00",
    ),
    "a date that was left out is not fired again": (
        "0 9 * * *",
        "Pacific/Apia",
        "2011-12-30 10:00",
        "2011-12-30 19:00",
    ),
    "a schedule with a star loses the date that was left out": (
        "0 * 30 12 *",
        "Pacific/Apia",
        "2011-01-01 00:00",
        "2012-12-29 10:00",
    ),
    "negative summer time is a move of the clock like any": (
        "30 1 * * *",
        "Europe/Dublin",
        "2026-03-28 12:00",
        "2026-03-29 01:00",
    ),
    "a change by odd seconds": ("10 0 7 1 *", "Africa/Monrovia", "1972-01-01 00:00", "1972-01-07 00:44:30"),
    "an offset of odd seconds": ("0 12 * * *", "Europe/Amsterdam", "1936-01-01 00:00", "1936-01-01 11:40:28"),
    "a fifth Monday of February": ("0 0 * 2 1#5", "UTC", "2026-01-01 00:00", "2044-02-29 00:00"),
    "29 February over a century that leaps none": ("0 0 29 2 *", "UTC", "2096-03-01 00:00", "2104-02-29 00:00"),
    "the last Friday": ("0 0 * * 5L", "UTC", "2026-01-31 00:00", "2026-02-27 00:00"),
    "a step from a value goes on to the end of the field": (
        "50/5 * * * *",
        "UTC",
        "2026-01-01 00:50",
        "2026-01-01 00:55",
    ),
    "a step from a weekday goes on to Saturday": ("0 0 * * 1/5", "UTC", "2026-01-01 12:00", "2026-01-03 00:00"),
    "seven is Sunday, at the end of a range too": ("0 0 * * 6-7", "UTC", "2026-01-03 00:00", "2026-01-04 00:00"),
}


@pytest.mark.parametrize(("expression", "zone", "after", "want"), NEXT.values(), ids=NEXT.keys())
def test_next_fire_time(expression: str, zone: str, after: str, want: str) -> None:
    """Days match as in a CronJob; changes of the clock are handled as in Debian's cron."""
    assert cron_schedule(expression, zone).next_fire_time(utc(after)) == utc(want)


LATEST = {
    "none is due": ("0 5 * * *", "2026-01-01 05:00", "2026-01-02 04:59:59", None),
    "one is due": ("0 5 * * *", "2026-01-01 05:00", "2026-01-02 05:00", "2026-01-02 05:00"),
    "the last of many": ("* * * * * *", "2020-01-01 00:00", "2026-01-01 00:00:30", "2026-01-01 00:00:30"),
    "the last of a busy minute long ago": ("0-9 0 1 1 *", "2020-01-01 00:00", "2026-11-21 00:00", "2026-01-01 00:09"),
    "the last of a rare date": ("0 0 29 2 *", "1999-01-01 00:00", "2027-12-31 00:00", "2024-02-29 00:00"),
    "the only one, right after the lower bound": (
        "0 0 1 1 *",
        "2025-12-31 23:59",
        "2026-12-31 00:00",
        "2026-01-01 00:00",
    ),
}


@pytest.mark.parametrize(("expression", "after", "until", "want"), LATEST.values(), ids=LATEST.keys())
def test_latest_fire_time(expression: str, after: str, until: str, want: str | None) -> None:
    """The latest slot in a period is found in a few steps, however long the period is."""
    found = latest_fire_time(cron_schedule(expression), utc(after), utc(until))
    assert found == (utc(want) if want else None)


WALKS = {
    "particular times over the end of summer time": ("15,45 1-3 * * *", "Europe/Berlin", "2026-10-20 00:00"),
    "particular times over its beginning": ("15,45 1-3 * * *", "Europe/Berlin", "2026-03-20 00:00"),
    "every quarter of an hour over the end of summer time": ("*/15 * * * *", "Europe/Berlin", "2026-10-24 20:00"),
    "weekdays": ("17 */3 * * 1-5", "America/New_York", "2026-03-01 00:00"),
    "half an hour": ("*/10 1,2 * * *", "Australia/Lord_Howe", "2026-04-01 00:00"),
    "the date line": ("0 9,21 * * *", "Pacific/Apia", "2011-12-20 00:00"),
    "seconds": ("*/7 59,0 2 * * *", "Europe/Berlin", "2026-10-24 00:00"),
    "rare": ("0 0 29 2 1#5", "UTC", "1970-01-01 00:00"),
    "leap days": ("* * 29 2 *", "Asia/Gaza", "2020-01-01 00:00"),
}


@pytest.mark.parametrize(("expression", "zone", "after"), WALKS.values(), ids=WALKS.keys())
def test_forward_and_backward_walks_are_one(expression: str, zone: str, after: str) -> None:
    """Slots increase strictly, and forward search, backward search and windows agree."""
    schedule = cron_schedule(expression, zone)
    slots = fire_times(schedule, utc(after), 200)
    second = timedelta(seconds=1)
    for earlier, later in pairwise(slots):
        assert earlier < later
        assert schedule.next_fire_time(earlier) == later
        assert schedule.next_fire_time(later - timedelta(microseconds=1)) == later
        assert schedule.previous_fire_time(later) == later
        assert schedule.previous_fire_time(later - second) == earlier
        assert latest_fire_time(schedule, utc(after), later - second) == earlier
        assert latest_fire_time(schedule, earlier, later - second) is None
    for most in (1, 7, 100):
        assert last_fire_times(schedule, utc(after), slots[-1], most) == (slots[-most:], len(slots) > most)
    assert last_fire_times(schedule, slots[-4], slots[-1], 3) == (slots[-3:], False)
    assert last_fire_times(schedule, slots[-1], slots[-1], 3) == ([], False)


class Counting:
    """A schedule that counts its calls."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.asked = 0

    def next_fire_time(self, after: datetime) -> datetime | None:
        self.asked += 1
        return self.schedule.next_fire_time(after)

    def previous_fire_time(self, until: datetime) -> datetime | None:
        self.asked += 1
        return self.schedule.previous_fire_time(until)


BUSY = {
    "a year of missed seconds": "* * * * * *",
    "one busy hour long ago": "* * 0 1 1 *",
    "a busy second of every leap day": "* 0 0 29 2 *",
}


@pytest.mark.parametrize("expression", BUSY.values(), ids=BUSY.keys())
def test_the_last_slots_of_a_year_cost_no_loop_over_it(expression: str) -> None:
    """Finding n slots takes n steps, and one more to know whether there are others."""
    schedule = Counting(cron_schedule(expression, "Europe/Berlin"))
    slots, more = last_fire_times(schedule, utc("2024-01-01 00:00"), utc("2026-12-01 00:00"), 50)
    assert (len(slots), more) == (50, True)
    assert schedule.asked <= 51


STEPS = {
    "ordinary": ("0 3 * * *", "Europe/Berlin", 4),
    "each second": ("* * * * * *", "Europe/Berlin", 4),
    "once a year": ("0 0 1 1 *", "Europe/Berlin", 4),
    "each minute of a leap day": ("* * 29 2 *", "Europe/Berlin", 8),
    "a fifth Monday of February": ("* * * 2 1#5", "Africa/Casablanca", 8),
}


@pytest.mark.parametrize(
    ("expression", "zone", "want_at_most"),
    STEPS.values(),
    ids=STEPS.keys(),
)
def test_steps_are_bounded(expression: str, zone: str, want_at_most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock and the expression are called a few times, however far away the next slot is."""
    schedule = cron_schedule(expression, zone)
    calls: Counter[str] = Counter()

    def count(cls: type, name: str) -> None:
        real = getattr(cls, name)

        def counted(self: Any, instant: int) -> Any:
            calls[name] += 1
            return real(self, instant)

        monkeypatch.setattr(cls, name, counted)

    count(ZoneClock, "stretch")
    count(Cron, "next_reading")
    count(Cron, "previous_reading")
    for day in range(0, 4000, 7):
        calls.clear()
        schedule.next_fire_time(utc("2020-01-01 01:30") + timedelta(days=day))
        schedule.previous_fire_time(utc("2020-01-01 01:30") + timedelta(days=day))
        assert calls.total() <= 2 * want_at_most


def test_there_are_no_slots_beyond_the_years_that_can_be_written() -> None:
    """Beyond the years 1 and 9999 a schedule returns None instead of raising an error."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for zone in ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        for expression in ("0 0 * * *", "* * * * *", "* * * * * *", "0 0 29 2 *"):
            schedule = cron_schedule(expression, zone)
            assert schedule.next_fire_time(last) is None
            assert schedule.previous_fire_time(first) is None
            assert schedule.next_fire_time(first) is not None
            assert schedule.previous_fire_time(last) is not None
    assert IntervalSchedule(at("00:00"), timedelta(days=1)).next_fire_time(last) is None
