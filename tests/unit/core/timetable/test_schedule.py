"""Schedules made from specs: errors, intervals, one-shots, bounds, descriptions and jitter."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import reset_tzpath

import pytest

from carillon_core.domain.timetable.schedule import (
    BoundedSchedule,
    IntervalSchedule,
    InvalidScheduleError,
    OneShotSchedule,
    cron_schedule,
    fire_times,
    jitter_offset,
    last_fire_times,
    schedule_description,
    schedule_of,
    schedule_problems,
)
from carillon_core.domain.timetable.zones import time_zone
from carillon_core.resources.scheduled_task import parse_spec
from support.builders import CREATED, at
from support.calendars import calendar, utc

REFUSED = {
    "a value out of range": ("61 * * * *", "correct its minute"),
    "too few fields": ("* * * *", "has 4 fields"),
    "words": ("every day", "has 2 fields"),
    "nothing": (" ", "has 0 fields"),
    "a macro that is no time": ("@reboot", "is not a macro"),
    "a date that never comes": ("0 0 31 2 *", "never fires"),
    "a step that never steps": ("*/61 * * * *", "must be less than 60"),
    "a step of zero": ("*/0 * * * *", "correct its minute"),
    "digits that are none": ("٣ * * * *", "correct its minute"),
    "letters that become others in capitals": ("0 0 * * \u017fun", "correct its day of week"),
    "a step that is the whole field": ("0 */24 * * *", "correct its hour .*/24 must be less than 24"),
    "a range that runs backward": ("0 0 * * fri-mon", "correct its day of week .*ends before it begins"),
    "a step of the last day": ("0 0 L/2 * *", "correct its day of month"),
    "a sixth week": ("0 0 * * 1#6", "a week from 1 to 5"),
    "an empty term": ("0,,1 * * * *", "a value is missing"),
    "a value out of its field, with the field": ("0 0 0 * *", "day of month .must be from 1 to 31, got 0"),
    "Quartz's nearest weekday": ("0 0 15W * *", "correct its day of month"),
    "30 February, on any weekday": ("0 0 30 2 *", "never fires"),
    "seven fields": ("0 0 0 1 1 * 2027", "has 7 fields"),
}


@pytest.mark.parametrize(("expression", "want"), REFUSED.values(), ids=REFUSED.keys())
def test_a_cron_that_cannot_be_meant_is_refused(expression: str, want: str) -> None:
    """The message names the field and the correction."""
    with pytest.raises(InvalidScheduleError, match=want):
        cron_schedule(expression)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../../etc/passwd", "", "/etc/localtime", "Europe", "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """Every invalid name gives an InvalidScheduleError."""
    with pytest.raises(InvalidScheduleError, match="is not an IANA time zone"):
        cron_schedule("* * * * *", zone)


@pytest.fixture
def zone_folder(tmp_path: Path) -> Iterator[Path]:
    """Provide a machine's folder of time zones, including the other files that Debian puts there."""
    berlin = resources.files("tzdata.zoneinfo").joinpath("Europe", "Berlin").read_bytes()
    for name in ("Europe/Berlin", "localtime", "posixrules", "posix/Europe/Berlin", "right/Europe/Berlin", "Factory"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(berlin)
    reset_tzpath([tmp_path])
    time_zone.cache_clear()
    yield tmp_path
    reset_tzpath()
    time_zone.cache_clear()


@pytest.mark.usefixtures("zone_folder")
@pytest.mark.parametrize("zone", ["localtime", "posixrules", "posix/Europe/Berlin", "right/Europe/Berlin", "Factory"])
def test_a_file_beside_the_time_zones_is_not_one(zone: str) -> None:
    """Files that depend on the machine, or that Debian adds, are not accepted as time zones."""
    assert time_zone("Europe/Berlin").key == "Europe/Berlin"
    with pytest.raises(InvalidScheduleError, match="is not an IANA time zone"):
        cron_schedule("* * * * *", zone)


def test_problems_name_their_field() -> None:
    """An invalid cron expression and an invalid time zone are reported together."""
    spec = parse_spec({"schedule": "x * * * *", "timeZone": "Mars/Olympus", "task": {"counter": {}}}, strict=True)
    assert [p.path for p in schedule_problems(spec)] == ["spec.timeZone", "spec.schedule"]


def test_an_interval_never_drifts() -> None:
    """Slot k is at anchor + k * interval, for k from 1."""
    schedule = IntervalSchedule(at("00:00"), timedelta(seconds=7))
    assert schedule.next_fire_time(at("00:00") - timedelta(days=1)) == at("00:00:07")
    assert schedule.next_fire_time(at("00:00:07")) == at("00:00:14")
    assert schedule.next_fire_time(at("00:00:13")) == at("00:00:14")


def test_a_one_shot_fires_once() -> None:
    """The slot is next until its time has come; after that there is none."""
    schedule = OneShotSchedule(at("06:00"))
    assert schedule.next_fire_time(at("05:59:59")) == at("06:00")
    assert schedule.next_fire_time(at("06:00")) is None
    assert fire_times(schedule, at("00:00"), 5) == [at("06:00")]


BOUNDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an interval counts from the creation, that instant not included": (
        {"intervalSeconds": 3600, "durationSeconds": 7200},
        ["2026-01-01 01:00", "2026-01-01 02:00"],
    ),
    "or from startAt, that instant included": (
        {"intervalSeconds": 3600, "startAt": "2026-01-01T00:30:00Z", "durationSeconds": 3600},
        ["2026-01-01 00:30", "2026-01-01 01:30"],
    ),
    "startAt and endAt are included": (
        {"schedule": "0 * * * *", "startAt": "2026-01-01T05:00:00Z", "endAt": "2026-01-01T06:00:00Z"},
        ["2026-01-01 05:00", "2026-01-01 06:00"],
    ),
    "the duration counts from startAt": (
        {"schedule": "30 * * * *", "startAt": "2026-01-01T05:00:00Z", "durationSeconds": 5400},
        ["2026-01-01 05:30", "2026-01-01 06:30"],
    ),
    "else from the creation": ({"schedule": "30 * * * *", "durationSeconds": 5399}, ["2026-01-01 00:30"]),
    "a startAt that lies before the creation": (
        {"intervalSeconds": 7200, "startAt": "2025-12-31T23:00:00Z", "endAt": "2026-01-01T03:00:00Z"},
        ["2026-01-01 01:00", "2026-01-01 03:00"],
    ),
    "one shot": ({"runAt": "2026-01-01T07:00:00Z"}, ["2026-01-01 07:00"]),
}


@pytest.mark.parametrize(("fields", "want"), BOUNDS.values(), ids=BOUNDS.keys())
def test_the_slots_of_a_calendar(fields: dict[str, Any], want: list[str]) -> None:
    """All slots after the creation are found forward and backward, from a calendar and from a spec."""
    slots = [utc(text) for text in want]
    for spec in (calendar(**fields), parse_spec({**fields, "task": {"counter": {}}}, strict=True)):
        schedule = schedule_of(spec, CREATED)
        assert fire_times(schedule, CREATED, 10) == slots
        assert last_fire_times(schedule, CREATED, utc("2027-01-01 00:00"), 10) == (slots, False)


def test_an_unbounded_calendar_is_no_wrapper() -> None:
    """A calendar without bounds gives the bare schedule; an empty calendar is refused."""
    assert not isinstance(schedule_of(calendar(schedule="@hourly"), CREATED), BoundedSchedule)
    with pytest.raises(InvalidScheduleError, match="sets no schedule"):
        schedule_of(calendar(), CREATED)


def test_a_duration_beyond_the_end_of_time_is_endless() -> None:
    """A duration that ends after the year 9999 has no end."""
    spec = calendar(schedule="@yearly", startAt="9990-01-01T00:00:00Z", durationSeconds=100 * 366 * 86_400)
    assert schedule_of(spec, CREATED).next_fire_time(CREATED) == utc("9990-01-01 00:00")


EMPTY: dict[str, tuple[dict[str, Any], bool, str | None]] = {
    "endAt before the first slot": (
        {"schedule": "@yearly", "startAt": "2026-02-01T00:00:00Z", "endAt": "2026-03-01T00:00:00Z"},
        False,
        "spec.endAt: must not be before the first slot, 2027-01-01T00:00:00Z (got 2026-03-01T00:00:00Z)",
    ),
    "a duration that ends before the first slot": (
        {"schedule": "0 9 * * *", "startAt": "2026-02-01T00:00:00Z", "durationSeconds": 60},
        False,
        "spec.durationSeconds: must be at least 32400 to reach the first slot (got 60)",
    ),
    "an interval longer than the duration, whatever the creation": (
        {"intervalSeconds": 60, "durationSeconds": 59},
        False,
        "spec.durationSeconds: must be at least 60 to reach the first slot (got 59)",
    ),
    "an interval as long as the duration": ({"intervalSeconds": 60, "durationSeconds": 60}, False, None),
    "from startAt an interval always has a slot": (
        {"intervalSeconds": 60, "startAt": "2026-02-01T00:00:00Z", "durationSeconds": 1},
        False,
        None,
    ),
    "endAt before the creation": (
        {"intervalSeconds": 60, "endAt": "2025-01-01T00:00:00Z"},
        True,
        "spec.endAt: must not be before the first slot, 2026-01-01T00:01:00Z (got 2025-01-01T00:00:00Z)",
    ),
    "without the creation it cannot be said": ({"intervalSeconds": 60, "endAt": "2025-01-01T00:00:00Z"}, False, None),
    "nor of a duration that counts from it": ({"schedule": "@yearly", "durationSeconds": 60}, False, None),
    "with it, it can": (
        {"schedule": "@yearly", "durationSeconds": 60},
        True,
        "spec.durationSeconds: must be at least 31536000 to reach the first slot (got 60)",
    ),
    "no slot at all": (
        {"schedule": "@yearly", "startAt": "9999-12-01T00:00:00Z", "endAt": "9999-12-30T00:00:00Z"},
        False,
        "spec.endAt: leaves no slot: the schedule has none after 9999-12-01T00:00:00Z",
    ),
    "a bad expression is the only problem": (
        {"schedule": "61 * * * *", "endAt": "2025-01-01T00:00:00Z"},
        True,
        "spec.schedule: '61 * * * *' is not a cron expression: correct its minute (must be from 0 to 59, got 61)",
    ),
}


@pytest.mark.parametrize(("fields", "created", "want"), EMPTY.values(), ids=EMPTY.keys())
def test_bounds_without_a_slot_are_a_problem(fields: dict[str, Any], *, created: bool, want: str | None) -> None:
    """The message names the field and the correction as soon as the problem is certain."""
    problems = schedule_problems(calendar(**fields), CREATED if created else None)
    assert [str(p) for p in problems] == ([want] if want else [])


def test_an_interval_does_not_drift_over_summer_time() -> None:
    """A day is 86400 seconds, also when the clock changes."""
    schedule = schedule_of(calendar(intervalSeconds=86_400, startAt="2026-03-27T12:00:00Z"), CREATED)
    slots = fire_times(schedule, CREATED, 400)
    assert slots == [utc("2026-03-27 12:00") + timedelta(days=k) for k in range(400)]


WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "cron": ({"schedule": "0 3 * * *"}, "0 3 * * *"),
    "with its zone": ({"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"}, "0 3 * * * Europe/Berlin"),
    "an interval": ({"intervalSeconds": 30}, "every 30s"),
    "one shot": ({"runAt": "2026-01-01T07:00:00Z"}, "at 2026-01-01T07:00:00Z"),
    "bounds": (
        {"intervalSeconds": 30, "startAt": "2026-01-01T07:00:00Z", "durationSeconds": 90},
        "every 30s from 2026-01-01T07:00:00Z for 90s",
    ),
    "an end": ({"schedule": "@daily", "endAt": "2026-01-01T07:00:00Z"}, "@daily until 2026-01-01T07:00:00Z"),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize(("fields", "want"), WORDS.values(), ids=WORDS.keys())
def test_a_calendar_in_words(fields: dict[str, Any], want: str) -> None:
    """The description has the schedule, its zone and its bounds."""
    assert schedule_description(calendar(**fields)) == want


def test_jitter_is_stable_within_bounds_and_spread() -> None:
    """A task always has the same jitter, and tasks are spread evenly over the range."""
    assert jitter_offset("6f9619ff-8b86-4011-b42d-00c04fc964ff", 300) == timedelta(seconds=149)
    assert jitter_offset("any", 0) == timedelta(0)
    counts = Counter(jitter_offset(f"task-{n}", 9) for n in range(10_000))
    assert set(counts) == {timedelta(seconds=n) for n in range(10)}
    assert all(850 < count < 1150 for count in counts.values())
