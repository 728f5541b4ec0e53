"""Time zones by name: which exist, what a misspelt one was meant to be, and which mean something unexpected.

Pure, except that zones are read from the system or from the package ``tzdata``; ``schedule`` and ``validity`` ask it.
"""

import re
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from carillon_core.nearest import nearest

NOT_ZONES = {"localtime", "posixrules", "Factory"}
NOT_ZONE_FOLDERS = {"posix", "right"}
"""Not IANA zones, but installed beside them on many systems: the machine's own zone, defaults, and copies."""
_LIKE = 0.8
"""How alike a zone must be to a misspelt name."""
_FIXED = {
    "EST": ("UTC-05:00", "America/New_York"),
    "MST": ("UTC-07:00", "America/Denver"),
    "HST": ("UTC-10:00", "Pacific/Honolulu"),
}
"""Abbreviations of standard time, with the zone of most people who use them."""
_CHANGING = {
    "EST5EDT": "America/New_York",
    "CST6CDT": "America/Chicago",
    "MST7MDT": "America/Denver",
    "PST8PDT": "America/Los_Angeles",
    "WET": "Europe/Lisbon",
    "CET": "Europe/Brussels",
    "MET": "Europe/Brussels",
    "EET": "Europe/Athens",
}
"""Old names of zones with daylight saving time, and what the IANA database links them to."""
_INVERTED = re.compile(r"Etc/GMT([+-])([1-9]\d?)")


class UnknownZoneError(ValueError):
    """A name that no IANA time zone has; the message says what to write instead."""


@lru_cache(maxsize=4096)
def time_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone with a name.

    Raises:
        UnknownZoneError: If no such zone exists.

    """
    zone = None if name in NOT_ZONES or name.partition("/")[0] in NOT_ZONE_FOLDERS else _zone_info(name)
    if zone is None:
        meant = _meant(name)
        fix = f"did you mean {meant}?" if meant else "write one such as Europe/Berlin, or leave timeZone out for UTC"
        raise UnknownZoneError(f"{name!r} is not an IANA time zone: {fix}")
    return zone


def zone_advice(name: str) -> str | None:
    """Return what may not be intended with a zone, or None.

    Args:
        name: The name of a zone that exists.

    """
    if name in _FIXED:
        offset, place = _FIXED[name]
        return (
            f"{name} is {offset} all year, without daylight saving time; if you mean the time of a place, write {place}"
        )
    if name in _CHANGING:
        place = _CHANGING[name]
        return f"{name} is an old name of {place} and changes with its daylight saving time; write {place}"
    if (found := _INVERTED.fullmatch(name)) is not None:
        sign, hours = found.groups()
        other = "-" if sign == "+" else "+"
        advice = f"{name} is UTC{other}{hours:0>2}:00 all year: the signs of these zones are inverted"
        exists = f"Etc/GMT{other}{hours}" in available_zones()
        return f"{advice}; for UTC{sign}{hours:0>2}:00, write Etc/GMT{other}{hours}" if exists else advice
    return None


def _zone_info(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # what zoneinfo raises depends on how the name is wrong
        return None


@lru_cache(maxsize=1024)  # an invalid task is looked at again and again
def _meant(name: str) -> str | None:
    """Return the zone that a misspelt name is most like: by its whole name, else by the name of its place."""
    if (found := nearest(name, _names(), _LIKE)) is not None:
        return found
    places = {zone.rpartition("/")[2]: zone for zone in _names() if "/" in zone}
    place = nearest(name.rpartition("/")[2], places, _LIKE)
    return None if place is None else places[place]


@cache
def available_zones() -> frozenset[str]:
    """Return the names of all zones. Reading them takes some milliseconds."""
    return frozenset(available_timezones() - NOT_ZONES)


@cache
def _names() -> tuple[str, ...]:
    """Return the names to suggest: those of places, and UTC."""
    zones = sorted(available_zones())
    return tuple(zone for zone in zones if zone == "UTC" or ("/" in zone and not zone.startswith("Etc/")))
