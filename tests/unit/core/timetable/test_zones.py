"""Time zones by name: misspelt ones, and those that mean something else than they seem to."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from carillon_core.domain.timetable.zones import UnknownZoneError, time_zone, zone_advice

MEANT = {
    "Europe/Berln": "Europe/Berlin",
    "europe/berlin": "Europe/Berlin",
    "America/New York": "America/New_York",
    "Berlin": "Europe/Berlin",
    "Germany/Berlin": "Europe/Berlin",
    "Amerika/New_York": "America/New_York",
    "Asia/Calcuta": "Asia/Calcutta",
    "utc": "UTC",
    "Mars/Olympus": None,
    "Europe/Nowhere": None,
    "GMT+2": None,
    "localtime": None,
    "x" * 64: None,
}


@pytest.mark.parametrize(("name", "want"), MEANT.items())
def test_a_misspelt_zone_names_the_one_that_was_meant(name: str, want: str | None) -> None:
    """Its place counts, if its whole name is like none; a name that is like none gets no guess."""
    with pytest.raises(UnknownZoneError) as refused:
        time_zone(name)
    fix = f"did you mean {want}?" if want else "write one such as Europe/Berlin, or leave timeZone out for UTC"
    assert str(refused.value) == f"{name!r} is not an IANA time zone: {fix}"


ADVICE = {
    "EST": "EST is UTC-05:00 all year, without daylight saving time; if you mean the time of a place, write ",
    "MST": "MST is UTC-07:00 all year",
    "HST": "HST is UTC-10:00 all year",
    "EST5EDT": "EST5EDT is an old name of America/New_York and changes with its daylight saving time; write ",
    "CET": "CET is an old name of Europe/Brussels",
    "Etc/GMT+5": "Etc/GMT+5 is UTC-05:00 all year: the signs of these zones are inverted; for UTC+05:00, write Etc/",
    "Etc/GMT-14": "Etc/GMT-14 is UTC+14:00",
}


@pytest.mark.parametrize(("name", "want"), ADVICE.items())
def test_a_zone_that_may_not_be_meant_is_explained(name: str, want: str) -> None:
    """The sentence says what the zone is and what to write instead."""
    advice = zone_advice(name)
    assert advice is not None
    assert advice.startswith(want)


def offset_of(zone: str, month: int) -> str:
    """Return the offset of a zone in a month of 2026: ``UTC-05:00``."""
    shown = datetime(2026, month, 15, tzinfo=UTC).astimezone(ZoneInfo(zone)).isoformat()
    return f"UTC{shown[-6:]}"


@pytest.mark.parametrize("name", ADVICE)
def test_what_is_said_of_a_zone_is_true(name: str) -> None:
    """Its offset is the one in the sentence, or it is that of the place, in winter and in summer."""
    advice = zone_advice(name) or ""
    winter, summer = offset_of(name, 1), offset_of(name, 7)
    if "old name" in advice:
        place = advice.rpartition(" ")[2]
        assert (winter, summer) == (offset_of(place, 1), offset_of(place, 7))
        assert winter != summer
    else:
        assert winter == summer
        assert winter in advice


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/UTC", "Etc/GMT", "Etc/GMT+0", "GMT", "Etc/GMT0"])
def test_other_zones_are_not_explained(name: str) -> None:
    """Nobody would read a warning that always appears."""
    assert zone_advice(name) is None
