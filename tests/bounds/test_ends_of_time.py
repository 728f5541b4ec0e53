"""Schedules at both ends of the calendar, the years 1 and 9999: every call returns quickly."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carillon_core.domain.timetable.clock import ZoneClock
from carillon_core.domain.timetable.clock_changes import clock_changes
from carillon_core.domain.timetable.schedule import (
    FIRST_DATETIME,
    LAST_DATETIME,
    cron_schedule,
    fire_times,
    last_fire_times,
    schedule_of,
    schedule_problems,
)
from carillon_core.domain.validity.advice import warnings_of
from carillon_core.domain.validity.problems import spec_problems
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec
from support.deadline import deadline

SECONDS = 2.0
"""The CPU time limit of a call. The slowest probes a zone's clock over 400 years, once."""
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC",
    "Etc/UTC",
    "Etc/GMT+12",
    "Pacific/Kiritimati",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
)
EXPRESSIONS = (
    "59 59 23 31 12 *",
    "0 0 0 1 1 *",
    "59 23 31 12 *",
    "0 0 1 1 *",
    "30 2 * * *",
    "* * * * * *",
    "* * * * *",
    "*/7 * 31 12 *",
    "* 2 29 2 *",
    "* 2 * 3 SUN#2",
    "0 12 L 12 *",
    "59 59 23 * * 5L",
)


def ends() -> st.SearchStrategy[datetime]:
    """Draw instants within three days of either end of the calendar, inclusive."""
    near = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3))
    return st.one_of(
        st.sampled_from([FIRST_DATETIME, LAST_DATETIME, LAST_DATETIME.replace(microsecond=0)]),
        near.map(lambda distance: FIRST_DATETIME + distance),
        near.map(lambda distance: LAST_DATETIME - distance),
    )


def rarely_other(usual: st.SearchStrategy[datetime]) -> st.SearchStrategy[datetime]:
    """Draw a present-day instant as well."""
    return st.one_of(usual, st.just(CREATED))


def calendars() -> st.SearchStrategy[dict[str, Any]]:
    """Draw the fields of a calendar: cron, interval or one-shot, with bounds at either end of time."""
    times = ends().map(rfc3339)
    bounds = st.fixed_dictionaries({}, optional={"startAt": times}).flatmap(
        lambda start: st.one_of(
            st.just(start),
            times.map(lambda end: start | {"endAt": end}),
            st.sampled_from([1, 60, 86_400, 3_000_000_000]).map(lambda span: start | {"durationSeconds": span}),
        )
    )
    cron = st.fixed_dictionaries(
        {"schedule": st.sampled_from(EXPRESSIONS)}, optional={"timeZone": st.sampled_from(ZONES)}
    )
    interval = st.fixed_dictionaries({"intervalSeconds": st.sampled_from([1, 3600, 86_399, 31_622_400])})
    repeated = st.tuples(st.one_of(cron, interval), bounds).map(lambda parts: parts[0] | parts[1])
    return st.one_of(repeated, times.map(lambda time: {"runAt": time}))


def spec_of(fields: dict[str, Any]) -> ScheduledTaskSpec | None:
    """Return the spec of these fields, or None if the schema refuses it (an end before the start)."""
    try:
        return parse_spec({"task": {"counter": {}}} | fields, strict=True)
    except InvalidResourceError:
        return None


def test_the_last_second_of_the_year_9999() -> None:
    """UTC's clock shows nothing later, and the search for its slot ends."""
    spec = spec_of({"schedule": "59 59 23 31 12 *", "startAt": "9999-01-01T00:00:00Z", "endAt": "9999-12-31T23:59:59Z"})
    assert spec is not None
    with deadline(SECONDS):
        assert schedule_problems(spec) != ()
        assert spec_problems(spec, CREATED) != ()
        assert schedule_of(spec, CREATED).next_fire_time(CREATED) is None


@pytest.mark.parametrize("zone", ZONES)
def test_a_clock_reaches_every_reading(zone: str) -> None:
    """This includes readings that it shows outside the supported range of instants."""
    clock = ZoneClock(ZoneInfo(zone))
    for end in (FIRST_DATETIME, LAST_DATETIME.replace(microsecond=0)):
        reading = int(end.timestamp())
        with deadline(SECONDS):
            reached = clock.reached(reading)
        assert clock.reading(reached) >= reading > clock.reading(reached - 1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(expression=st.sampled_from(EXPRESSIONS), zone=st.sampled_from(ZONES), when=ends())
def test_cron_at_the_ends_of_time(expression: str, zone: str, when: datetime) -> None:
    """Slots are in order, forward and backward, and each is on the requested side."""
    schedule = cron_schedule(expression, zone)
    with deadline(SECONDS):
        following = fire_times(schedule, when, 5)
    with deadline(SECONDS):
        preceding, _ = last_fire_times(schedule, FIRST_DATETIME, when, 5)
    slots = [*preceding, *following]
    assert all(earlier < later for earlier, later in pairwise(slots))
    assert all(slot <= when for slot in preceding)
    assert all(slot > when for slot in following)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(fields=calendars(), created=rarely_other(ends()), now=rarely_other(ends()))
def test_a_task_at_the_ends_of_time(fields: dict[str, Any], created: datetime, now: datetime) -> None:
    """All checks before a task is stored, and all calls of the operator to its schedule, return."""
    spec = spec_of(fields)
    if spec is None:
        return
    with deadline(SECONDS):
        problems = schedule_problems(spec, created) or spec_problems(spec, now)
    schedule = schedule_of(spec, created)
    with deadline(SECONDS):
        slots = fire_times(schedule, now, 5)
    with deadline(SECONDS):
        latest, _ = last_fire_times(schedule, created, now, 5)
    assert all(slot > now for slot in slots)
    assert all(created < slot <= now for slot in latest)
    with deadline(SECONDS):
        clock_changes(spec, now, LAST_DATETIME, 4, created)
    if not problems:
        with deadline(SECONDS):
            warnings_of(spec, now)


def test_a_schedule_that_no_clock_ever_shows() -> None:
    """In Vancouver, 02:xx on the second Sunday of March has been in the gap since 2007; the search gives up in time."""
    with deadline(SECONDS):
        assert cron_schedule("* 2 * 3 SUN#2", "America/Vancouver").next_fire_time(CREATED) is None
