"""The model of a CronJob's schedules, compared with the results of the parser that its controller uses."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from carillon_cli.conversion.robfig import (
    CronTimes,
    Every,
    NotACronJobScheduleError,
    fire_times,
    parse,
    segments,
    split_zone,
)

LINES = Path(__file__).parents[2] / "core" / "timetable" / "cronjob_times.jsonl"
AFTER = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
FIVE_YEARS = 5 * 366 * 86_400
DAY = 86_400


def instant(text: str) -> int:
    """Return a time in seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())


def modelled(expression: str, until: int, most: int) -> list[int] | None:
    """Return the first times of an expression; None if the model refuses it."""
    zone, rest = split_zone(expression)
    try:
        schedule = parse(rest)
    except NotACronJobScheduleError:
        return None
    if isinstance(schedule, Every):
        return [AFTER + schedule.seconds * k for k in range(1, most + 1)]
    return fire_times(schedule, zone or "UTC", AFTER, until)[:most]


def test_the_model_has_the_times_of_cronjobs_parser_and_refuses_what_that_refuses() -> None:
    """The file has the parser's answers to a few hundred expressions; proofs/truth/cronjob writes it."""
    compared = 0
    for raw in map(json.loads, LINES.read_text().splitlines()):
        times = [instant(text) for text in raw.get("times", ())]
        want = None if raw.get("error") else times
        until = times[-1] if times else AFTER + FIVE_YEARS
        assert modelled(raw["expression"], until, len(times) or 1) == want, raw["expression"]
        compared += len(times)
    assert compared > 2500


def test_the_model_has_the_times_of_cronjobs_parser_across_changes_of_the_clock() -> None:
    """The file has the number of times in 400 days, and a digest of them, in zones of all kinds.

    The parser goes astray where a clock changes by a part of an hour (Australia/Lord_Howe) or in the middle of one: in
    Pacific/Chatham it returns the same time for ever for ``45 1,3 * * *`` on 2024-04-06. The model does not follow it.
    """
    compared = 0
    for raw in map(json.loads, Path(__file__).with_name("cronjob_zones.jsonl").read_text().splitlines()):
        schedule = parse(raw["expression"])
        assert isinstance(schedule, CronTimes)
        times = fire_times(schedule, raw["zone"], AFTER, AFTER + 400 * DAY)
        digest = sha256("".join(f"{time}\n" for time in times).encode()).digest()[:8].hex()
        assert (len(times), digest) == (raw["times"], raw["digest"]), raw
        compared += len(times)
    assert compared > 300_000


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
