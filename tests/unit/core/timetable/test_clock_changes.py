"""What users are told about clock changes that affect their schedule."""

from typing import Any

import pytest

from carillon_core.domain.timetable.clock_changes import clock_changes
from support.calendars import calendar, utc

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
    """Each clock change of 2026 that affects the schedule has one message."""
    told = clock_changes(calendar(**fields), utc("2026-01-01 00:00"), utc("2027-01-01 00:00"), 10)
    assert [change.message for change in told] == want


def test_clock_changes_are_limited() -> None:
    """The result is limited to the given number, to the given period and to twenty years."""
    spec = calendar(schedule="30 2 * * *", timeZone="Europe/Berlin")
    told = clock_changes(spec, utc("2026-01-01 00:00"), utc("2027-01-01 00:00"), 1)
    assert [change.at for change in told] == [utc("2026-03-29 01:00")]
    assert clock_changes(spec, utc("2026-03-29 01:00"), utc("2026-10-25 00:59:59"), 9) == []
    assert len(clock_changes(spec, utc("2026-01-01 00:00"), utc("9999-01-01 00:00"), 99)) == 40


def test_a_date_that_was_left_out_is_told_with_its_date() -> None:
    """The message names both dates if the clock skips one: Apia had no 30 December 2011."""
    spec = calendar(schedule="0 9 * * *", timeZone="Pacific/Apia")
    (change,) = clock_changes(spec, utc("2011-12-01 00:00"), utc("2012-01-01 00:00"), 9)
    assert change.message == (
        "on 2011-12-30 clocks in Pacific/Apia go forward from 00:00 to 2011-12-31 00:00: "
        "09:00 does not exist; it fires at 2011-12-31 00:00 instead"
    )
