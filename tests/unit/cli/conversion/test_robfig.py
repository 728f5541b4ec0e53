"""The model of a CronJob's schedules: durations, segments of a zone, what its parser refuses."""

from datetime import UTC, datetime

import pytest

from carillon_cli.conversion.robfig import (
    CronTimes,
    Every,
    NotACronJobScheduleError,
    fire_times,
    parse,
    segments,
)

DAY = 86_400


def instant(text: str) -> int:
    """Return a time in seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("duration", "seconds"),
    {
        "1h30m": 5400,
        "1.5h": 5400,
        "90s": 90,
        "300ms": 1,
        "2m0.5s": 120,
        "-1h": 1,
        "0": 1,
        "2000000µs": 2,
        ".5h": 1800,
    }.items(),
)
def test_an_interval_is_a_duration_of_go_in_whole_seconds(duration: str, seconds: int) -> None:
    """Less than a second counts as one."""
    assert parse(f"@every {duration}") == Every(seconds)


@pytest.mark.parametrize(
    "schedule", ["@every day", "@every", "@every 1 h", "@Daily", "0 0 L * *", "0 0 * * 7", "* * *"]
)
def test_other_schedules_are_refused(schedule: str) -> None:
    """This includes what Carillon accepts and a CronJob does not."""
    with pytest.raises(NotACronJobScheduleError):
        parse(schedule)


def berlin(expression: str, day: str) -> list[str]:
    """Return the times of an expression in Berlin on one day, in UTC."""
    schedule = parse(expression)
    assert isinstance(schedule, CronTimes)
    start = instant(f"{day}T00:00:00+00:00") - 2 * 3600
    times = fire_times(schedule, "Europe/Berlin", start, start + DAY)
    return [datetime.fromtimestamp(time, UTC).strftime("%H:%M") for time in times]


def test_a_time_that_the_clock_skips_does_not_fire() -> None:
    """On 2026-03-29 the clock goes from 02:00 to 03:00."""
    assert berlin("30 2,3 * * *", "2026-03-29") == ["01:30"]


def test_a_time_that_occurs_twice_fires_twice() -> None:
    """On 2026-10-25 the clock goes back from 03:00 to 02:00."""
    assert berlin("30 2 * * *", "2026-10-25") == ["00:30", "01:30"]


@pytest.mark.parametrize(
    ("zone", "want"), [("Europe/Berlin", 3), ("Africa/Casablanca", 3), ("Australia/Lord_Howe", 3), ("UTC", 1)]
)
def test_the_segments_of_a_clock_meet_and_cover_the_year(zone: str, want: int) -> None:
    """Each begins where the one before it ends."""
    first, end = instant("2026-01-01T00:00:00+00:00"), instant("2027-01-01T00:00:00+00:00")
    found = segments(zone, first, end)
    assert len(found) == want
    assert [found[0].start, *(each.end for each in found)] == [*(each.start for each in found), end]


def test_a_plain_expression_has_the_same_times() -> None:
    """It is written where Carillon refuses the original."""
    odd = parse("*/90 +5,,6 1-31 jan-mar ?")
    assert isinstance(odd, CronTimes)
    assert odd.text() == f"0 5,6 {','.join(map(str, range(1, 32)))} 1,2,3 *"
    assert parse(odd.text()) == odd
