"""The calculus: when slots are. Tables of (schedule, after, want), times in UTC."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from carillon_core.domain.schedule import (
    IntervalSchedule,
    InvalidScheduleError,
    OneShotSchedule,
    cron_schedule,
    fire_times,
    latest_fire_time,
    schedule_problems,
)
from carillon_core.resources.scheduled_task import parse_spec
from support.builders import at


def utc(text: str) -> datetime:
    """Return a time in UTC from ``2026-03-29 00:30``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


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
    "day of month and day of week, when one has a star": ("0 0 */2 * 5", "UTC", "2026-01-01 00:00", "2026-01-09 00:00"),
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
}


@pytest.mark.parametrize(("expression", "zone", "after", "want"), NEXT.values(), ids=NEXT.keys())
def test_next_fire_time(expression: str, zone: str, after: str, want: str) -> None:
    """Cron as Debian's, in its zone."""
    assert cron_schedule(expression, zone).next_fire_time(utc(after)) == utc(want)


REFUSED = {
    "a value out of range": ("61 * * * *", "correct its minute"),
    "too few fields": ("* * * *", "has 4 fields"),
    "words": ("every day", "has 2 fields"),
    "nothing": (" ", "has 0 fields"),
    "a macro that is no time": ("@reboot", "is not a macro"),
    "a date that never comes": ("0 0 31 2 *", "never fires"),
    "a step that never steps": ("*/61 * * * *", "never steps"),
    "a step of zero": ("*/0 * * * *", "correct its minute"),
    "digits that are none": ("٣ * * * *", "correct its minute"),
}


@pytest.mark.parametrize(("expression", "want"), REFUSED.values(), ids=REFUSED.keys())
def test_a_cron_that_cannot_be_meant_is_refused(expression: str, want: str) -> None:
    """The message names the field and the mend."""
    with pytest.raises(InvalidScheduleError, match=want):
        cron_schedule(expression)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../../etc/passwd", "", "/etc/localtime", "Europe", "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """Whatever is wrong with the name, the error is ours."""
    with pytest.raises(InvalidScheduleError, match="is not an IANA time zone"):
        cron_schedule("* * * * *", zone)


def test_problems_name_their_field() -> None:
    """Both a bad cron and a bad zone are found at once."""
    spec = parse_spec({"schedule": "x * * * *", "timeZone": "Mars/Olympus", "task": {"counter": {}}}, strict=True)
    assert [p.path for p in schedule_problems(spec)] == ["spec.timeZone", "spec.schedule"]


def test_an_interval_never_drifts() -> None:
    """Slot k is anchor + k * interval, k from 1."""
    schedule = IntervalSchedule(at("00:00"), timedelta(seconds=7))
    assert schedule.next_fire_time(at("00:00") - timedelta(days=1)) == at("00:00:07")
    assert schedule.next_fire_time(at("00:00:07")) == at("00:00:14")
    assert schedule.next_fire_time(at("00:00:13")) == at("00:00:14")


def test_a_one_shot_fires_once() -> None:
    """Before its time it is next; from then on there is none."""
    schedule = OneShotSchedule(at("06:00"))
    assert schedule.next_fire_time(at("05:59:59")) == at("06:00")
    assert schedule.next_fire_time(at("06:00")) is None
    assert fire_times(schedule, at("00:00"), 5) == [at("06:00")]


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
    """The latest slot of a span, found in few steps however long the span."""
    found = latest_fire_time(cron_schedule(expression), utc(after), utc(until))
    assert found == (utc(want) if want else None)


def test_latest_fire_time_is_the_last_of_the_walk() -> None:
    """Against a plain walk, in a zone with daylight saving."""
    schedule = cron_schedule("17 */3 * * 1-5", "America/New_York")
    after = datetime(2026, 3, 1, tzinfo=ZoneInfo("America/New_York"))
    slots = fire_times(schedule, after, 400)
    for earlier, later in pairwise(slots):
        assert latest_fire_time(schedule, after, later - timedelta(seconds=1)) == earlier
