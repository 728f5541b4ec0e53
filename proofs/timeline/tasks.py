"""Random tasks of all kinds, and the edits that users make during the year."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from carillon_core.resources.base import rfc3339
from timeline.weather import BEGIN

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo", "Europe/Dublin", "Africa/Casablanca")
CRONS = (
    "30 2 * * *",
    "0 0 * * *",
    "0 */6 * * *",
    "15 1,2,3 * * *",
    "0 9 * * 1-5",
    "0 0 1 * *",
    "45 23 L * *",
    "*/30 2 * * 0",
    "@weekly",
)
BUSY = ("*/10 * * * *", "* 2 * * *", "0 * * * *")


@dataclass(frozen=True, slots=True)
class Change:
    """A user's edit of a spec: sets fields, and removes those that are None."""

    at: datetime
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """A task and the edits of its spec."""

    name: str
    uid: str
    created_at: datetime
    spec: dict[str, Any]
    changes: tuple[Change, ...]
    typical_seconds: int
    """The approximate duration of its executions."""


def make_script(number: int, rng: Random, days: int) -> Script:
    """Return the task with a number."""
    created = BEGIN + timedelta(seconds=rng.randrange(max(1, days // 4) * 86_400))
    calendar, every = _calendar(rng, created, days)
    spec = {"task": {"sum": {"a": 1, "b": 2}}, **calendar, **_policies(rng, every)}
    changes: list[Change] = []
    if every == 60:  # suspended except for some hours: its slots are settled by the thousand
        spec["suspend"] = True
        wakes = created + timedelta(hours=rng.randrange(10, 60))
        lasts = timedelta(minutes=rng.randrange(90))
        end = {"endAt": rfc3339(wakes + lasts + timedelta(hours=rng.randrange(20)))}
        changes = [Change(wakes, {"suspend": None, **end}), Change(wakes + lasts, {"suspend": True})]
    until = BEGIN + timedelta(days=days - 1)
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        when = created + (until - created) * rng.random()
        changes += _changes(rng, when.replace(microsecond=0), until, created, days, calendar)
    changes.append(Change(until, {"suspend": None}))
    if any("61" in str(c.fields.get("schedule")) for c in changes):
        changes.append(Change(until, _replacing(_rare_calendar(rng, until - timedelta(days=days), days))))
    uid = str(UUID(int=rng.getrandbits(128), version=4))
    return Script(
        f"task-{number}",
        uid,
        created,
        spec,
        tuple(sorted(changes, key=lambda c: c.at)),
        rng.choice((2, 20, max(2, every // 3), every)),
    )


def _calendar(rng: Random, created: datetime, days: int) -> tuple[dict[str, Any], int]:
    """Return a calendar and the approximate seconds between its slots."""
    kind = rng.choice(("cron", "cron", "cron", "interval", "interval", "busy", "burst", "minutes", "once"))
    start = created + timedelta(seconds=rng.randrange(max(1, days // 4) * 86_400))
    if kind == "cron":
        bounds = {"startAt": rfc3339(start)} if rng.random() < 0.2 else {}
        return {"schedule": rng.choice(CRONS), "timeZone": rng.choice(ZONES), **bounds}, 21_600
    if kind == "interval":
        every = rng.randrange(20_000, 200_000)
        return {"intervalSeconds": every} | ({"maxRuns": rng.randrange(1, 90)} if rng.random() < 0.4 else {}), every
    if kind == "busy":
        end = start + timedelta(days=rng.randrange(2, 9))
        return {"schedule": rng.choice(BUSY), "timeZone": rng.choice(ZONES), "endAt": rfc3339(end)}, 600
    if kind == "minutes":
        return {"intervalSeconds": 60, "endAt": rfc3339(created + timedelta(days=days))}, 60
    if kind == "burst":
        every, slots = rng.choice((1, 5, 20)), rng.randrange(50, 600)
        return {"intervalSeconds": every, "startAt": rfc3339(start), "durationSeconds": every * slots}, every
    return {"runAt": rfc3339(start)}, 3600


def _rare_calendar(rng: Random, created: datetime, days: int) -> dict[str, Any]:
    """Return a calendar that does not fire each minute for months."""
    while (found := _calendar(rng, created, days))[1] == 60:
        pass
    return found[0]


def _policies(rng: Random, every: int) -> dict[str, Any]:
    """Return the policies for overlaps, missed slots and failures."""
    overlap = rng.choice(("Forbid", "Forbid", "Allow", "Replace"))
    missed = rng.choice(("Latest", "Skip", "All", "All" if overlap != "Replace" else "Latest"))
    if overlap == "Replace" and missed == "All":
        missed = "Latest"
    spec: dict[str, Any] = {"concurrencyPolicy": overlap, "missedRunPolicy": missed}
    if rng.random() < 0.3:
        spec["startingDeadlineSeconds"] = rng.choice((10, 600, 86_400))
    if rng.random() < 0.3:
        spec["jitterSeconds"] = min(3600, every)
    if rng.random() < 0.2:
        spec |= {"suspendAfterFailures": 2, "cooldownSeconds": max(10, every // 2)}
    spec |= {"successfulJobsHistoryLimit": rng.randrange(4), "failedJobsHistoryLimit": rng.randrange(3)}
    if rng.random() < 0.3:
        spec["ttlSecondsAfterFinished"] = rng.choice((0, 60, 3600))
    return spec


def _replacing(calendar: dict[str, Any]) -> dict[str, Any]:
    fields = ("schedule", "timeZone", "intervalSeconds", "runAt", "startAt", "endAt", "durationSeconds", "maxRuns")
    return {**dict.fromkeys(fields), **calendar}


def _changes(
    rng: Random, when: datetime, until: datetime, created: datetime, days: int, calendar: dict[str, Any]
) -> list[Change]:
    later = when + (until - when) * rng.random() ** 3
    kind = rng.choice(("suspend", "suspend", "edit", "edit", "break", "raise", "other"))
    if kind == "suspend":
        return [Change(when, {"suspend": True}), Change(later, {"suspend": None})]
    if kind == "edit":
        return [Change(when, _replacing(_rare_calendar(rng, created, days)))]
    if kind == "break":
        broken = _replacing({"schedule": "61 * * * *"})
        return [Change(when, broken), Change(later, _replacing(_rare_calendar(rng, created, days)))]
    if kind == "raise" and "maxRuns" in calendar:
        return [Change(when, _replacing({**calendar, "maxRuns": calendar["maxRuns"] + 40}))]
    return [Change(when, {"task": {"sum": {"a": rng.randrange(9), "b": 2}}})]
