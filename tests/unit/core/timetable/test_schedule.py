"""The calculus: when slots are. Tables of (schedule, after, want), times in UTC."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import reset_tzpath

import pytest

from carillon_core.domain.timetable.clock import ZoneClock
from carillon_core.domain.timetable.clock_changes import clock_changes
from carillon_core.domain.timetable.cron import Cron
from carillon_core.domain.timetable.schedule import (
    BoundedSchedule,
    IntervalSchedule,
    InvalidScheduleError,
    OneShotSchedule,
    Schedule,
    cron_schedule,
    fire_times,
    jitter_offset,
    last_fire_times,
    latest_fire_time,
    schedule_description,
    schedule_of,
    schedule_problems,
    time_zone,
)
from carillon_core.resources.scheduled_task import Calendar, parse_spec
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
    """Days as CronJob's, changes of the clock as Debian's cron."""
    assert cron_schedule(expression, zone).next_fire_time(utc(after)) == utc(want)


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
    """The message names the field and the mend."""
    with pytest.raises(InvalidScheduleError, match=want):
        cron_schedule(expression)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../../etc/passwd", "", "/etc/localtime", "Europe", "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """Whatever is wrong with the name, the error is ours."""
    with pytest.raises(InvalidScheduleError, match="is not an IANA time zone"):
        cron_schedule("* * * * *", zone)


@pytest.fixture
def zone_folder(tmp_path: Path) -> Iterator[Path]:
    """A machine's folder of time zones, with the files that Debian puts beside them."""
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
    """They name the machine's own zone, or mean another clock on another machine."""
    assert time_zone("Europe/Berlin").key == "Europe/Berlin"
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
    """Slots rise strictly; asked at, before and after each, both directions agree; so do the windows."""
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
    """A schedule that counts how often it is asked."""

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
    """One step for each slot that is given back, and one to know whether there are more."""
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
    """However far the next slot is, the clock and the expression are asked a few times."""
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
    """At the ends of time a schedule says None and raises nothing."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for zone in ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        for expression in ("0 0 * * *", "* * * * *", "* * * * * *", "0 0 29 2 *"):
            schedule = cron_schedule(expression, zone)
            assert schedule.next_fire_time(last) is None
            assert schedule.previous_fire_time(first) is None
            assert schedule.next_fire_time(first) is not None
            assert schedule.previous_fire_time(last) is not None
    assert IntervalSchedule(at("00:00"), timedelta(days=1)).next_fire_time(last) is None


def calendar(**fields: Any) -> Calendar:
    """Return a calendar."""
    return Calendar.model_validate(fields)


CREATED = at("00:00")
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
    """All slots from the creation on, forward and backward; a spec is a calendar too."""
    slots = [utc(text) for text in want]
    for spec in (calendar(**fields), parse_spec({**fields, "task": {"counter": {}}}, strict=True)):
        schedule = schedule_of(spec, CREATED)
        assert fire_times(schedule, CREATED, 10) == slots
        assert last_fire_times(schedule, CREATED, utc("2027-01-01 00:00"), 10) == (slots, False)


def test_an_unbounded_calendar_is_no_wrapper() -> None:
    """The hot path is the schedule itself; an empty calendar is refused."""
    assert not isinstance(schedule_of(calendar(schedule="@hourly"), CREATED), BoundedSchedule)
    with pytest.raises(InvalidScheduleError, match="sets no schedule"):
        schedule_of(calendar(), CREATED)


def test_a_duration_beyond_the_end_of_time_is_endless() -> None:
    """A hundred years after 9990 no date can be written."""
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
    """The field and the mend, as soon as it can be known."""
    problems = schedule_problems(calendar(**fields), CREATED if created else None)
    assert [str(p) for p in problems] == ([want] if want else [])


def test_an_interval_does_not_drift_over_summer_time() -> None:
    """A day is 86400 seconds whatever the clocks do, and slot k is where it was computed."""
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
    """Other slots, other words."""
    assert schedule_description(calendar(**fields)) == want


def test_jitter_is_stable_within_bounds_and_spread() -> None:
    """The same for a task always; over tasks, every second of the span about as often."""
    assert jitter_offset("6f9619ff-8b86-4011-b42d-00c04fc964ff", 300) == timedelta(seconds=149)
    assert jitter_offset("any", 0) == timedelta(0)
    counts = Counter(jitter_offset(f"task-{n}", 9) for n in range(10_000))
    assert set(counts) == {timedelta(seconds=n) for n in range(10)}
    assert all(850 < count < 1150 for count in counts.values())


BERLIN_GAP = "on 2026-03-29 clocks in Europe/Berlin go forward from 02:00 to 03:00: "
BERLIN_REPEAT = "on 2026-10-25 clocks in Europe/Berlin go back from 03:00 to 02:00: "
CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a particular time": (
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"},
        [
            BERLIN_GAP + "02:30 does not exist; it fires at 03:00 instead",
            BERLIN_REPEAT + "02:30 occurs twice and fires only the first time",
        ],
    ),
    "two particular times": (
        {"schedule": "15,45 2 * * *", "timeZone": "Europe/Berlin"},
        [
            BERLIN_GAP + "02:15 and 02:45 do not exist; they fire once at 03:00 instead",
            BERLIN_REPEAT + "02:15 and 02:45 occur twice and fire only the first time",
        ],
    ),
    "each minute": (
        {"schedule": "* * * * *", "timeZone": "Europe/Berlin"},
        [
            BERLIN_GAP + "02:00, 02:01 and others do not exist and do not fire",
            BERLIN_REPEAT + "02:00, 02:01 and others occur twice and fire both times",
        ],
    ),
    "a time that no change touches": ({"schedule": "0 9 * * *", "timeZone": "Europe/Berlin"}, []),
    "a day that no change touches": ({"schedule": "30 2 * * 1", "timeZone": "Europe/Berlin"}, []),
    "UTC": ({"schedule": "30 2 * * *"}, []),
    "an interval": ({"intervalSeconds": 60}, []),
    "bounds that end before the change": (
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "endAt": "2026-03-01T00:00:00Z"},
        [],
    ),
    "bounds that begin between the changes": (
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "startAt": "2026-07-01T00:00:00Z"},
        [BERLIN_REPEAT + "02:30 occurs twice and fires only the first time"],
    ),
    "seconds": (
        {"schedule": "5 30 2 * 3 *", "timeZone": "Europe/Berlin"},
        [BERLIN_GAP + "02:30:05 does not exist; it fires at 03:00 instead"],
    ),
}


@pytest.mark.parametrize(("fields", "want"), CHANGES.values(), ids=CHANGES.keys())
def test_what_moving_the_clock_does(fields: dict[str, Any], want: list[str]) -> None:
    """One sentence for each change of 2026 that touches the schedule."""
    told = clock_changes(calendar(**fields), utc("2026-01-01 00:00"), utc("2027-01-01 00:00"), 10)
    assert [change.message for change in told] == want


def test_clock_changes_are_limited() -> None:
    """To so many, to the span, and to twenty years."""
    spec = calendar(schedule="30 2 * * *", timeZone="Europe/Berlin")
    told = clock_changes(spec, utc("2026-01-01 00:00"), utc("2027-01-01 00:00"), 1)
    assert [change.at for change in told] == [utc("2026-03-29 01:00")]
    assert clock_changes(spec, utc("2026-03-29 01:00"), utc("2026-10-25 00:59:59"), 9) == []
    assert len(clock_changes(spec, utc("2026-01-01 00:00"), utc("9999-01-01 00:00"), 99)) == 40


def test_a_date_that_was_left_out_is_told_with_its_date() -> None:
    """Apia had no 30 December 2011."""
    spec = calendar(schedule="0 9 * * *", timeZone="Pacific/Apia")
    (change,) = clock_changes(spec, utc("2011-12-01 00:00"), utc("2012-01-01 00:00"), 9)
    assert change.message == (
        "on 2011-12-30 clocks in Pacific/Apia go forward from 00:00 to 2011-12-31 00:00: "
        "09:00 does not exist; it fires at 2011-12-31 00:00 instead"
    )
