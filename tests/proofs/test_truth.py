"""A slice of ``make truth``: some twenty thousand triples, in every zone whose clock is moved in an odd way."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest

from carillon_core.domain.timetable import clock
from carillon_core.domain.timetable.clock import Change, ZoneClock
from carillon_core.domain.timetable.schedule import CronSchedule, cron_schedule
from truth.check import check_zone
from truth.oracle import DAY, clock_changes, database_changes, instant_of, when
from truth.peers import Peers

SEED = 4
ODD_ZONES = {
    "half an hour": "Australia/Lord_Howe",
    "a whole day": "Pacific/Apia",
    "a whole day, and a day of -12": "Pacific/Kwajalein",
    "in seconds": "Africa/Monrovia",
    "at midnight": "America/Havana",
    "at midnight, back into yesterday": "America/Asuncion",
    "negative summer time": "Europe/Dublin",
    "summer time that pauses": "Africa/Casablanca",
    "three hours": "Antarctica/Casey",
    "two hours": "Antarctica/Troll",
    "closest together": "Asia/Gaza",
    "ordinary": "Europe/Berlin",
    "at night's other end": "America/New_York",
    "never": "UTC",
}


@pytest.mark.parametrize("zone", ODD_ZONES.values(), ids=ODD_ZONES.keys())
def test_the_calculus_agrees_with_a_daemon_that_walks_the_clock(zone: str) -> None:
    """About each change of the clock since 1970; what croniter and cronsim say otherwise has a named rule."""
    account = check_zone(zone, SEED, per_change=18)
    assert account.failures == []
    assert account.counts["triples"] >= 19


def test_a_few_other_zones() -> None:
    """Drawn from all."""
    draw = Random(SEED)  # noqa: S311  # chance to be repeated, no secret
    for zone in draw.sample(sorted(available_timezones() - set(ODD_ZONES.values()) - {"localtime"}), 8):
        assert check_zone(zone, SEED, per_change=6, peers=False).failures == []


def test_the_proof_sees_a_calculus_that_takes_the_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a repeated reading fired at its second pass, the daemon and the peers would both say so."""
    reached = ZoneClock.reached

    def second_pass(self: ZoneClock, reading: int) -> int:
        first = reached(self, reading)
        later = self.reading(first + 3600)
        return first + 3600 if later == reading else first

    monkeypatch.setattr(ZoneClock, "reached", second_pass)
    failures = check_zone("Europe/Berlin", SEED, per_change=40).failures
    assert any("daemon" in failure for failure in failures)
    assert any("no rule explains it" in failure for failure in failures)


def test_the_proof_sees_a_calculus_that_reads_days_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the two day fields were joined the other way, all three would say so."""
    real = cron_schedule

    def mistaken(expression: str, zone: str = "UTC") -> CronSchedule:
        schedule = real(expression, zone)
        rule = replace(schedule.cron.day_rule, both=not schedule.cron.day_rule.both)
        return replace(schedule, cron=replace(schedule.cron, day_rule=rule, _days={}))

    monkeypatch.setattr("truth.check.cron_schedule", mistaken)
    failures = check_zone("Europe/Berlin", SEED, per_change=40).failures
    assert any("daemon" in failure for failure in failures)
    assert any("croniter: no rule" in failure for failure in failures)
    assert any("cronsim: no rule" in failure for failure in failures)
    assert all("-m truth --replay" in failure for failure in failures)


@pytest.mark.parametrize(
    ("expression", "zone", "after"),
    [("* 2 * 3 SUN#2", "Canada/Pacific", datetime(2021, 3, 14, 5, 38, 57, tzinfo=UTC))],
    ids=["an hour that every such Sunday leaves out"],
)
def test_what_a_peer_says_of_a_schedule_that_never_fires_has_a_rule(
    expression: str, zone: str, after: datetime
) -> None:
    """A peer may then answer with a time that the clock never shows."""
    counts: Counter[str] = Counter()
    changes = clock_changes(ZoneInfo(zone), instant_of(datetime(2020, 1, 1, tzinfo=UTC)), instant_of(after) + 366 * DAY)
    schedule = cron_schedule(expression, zone)
    assert schedule.next_fire_time(after) is None
    assert Peers(ZoneInfo(zone), changes, counts).differences(schedule, expression, after, None) == []
    assert counts == {"croniter: differs: fires at no match": 1, "cronsim: agrees": 1}


@pytest.mark.parametrize(
    "zone", ["Europe/Amsterdam", "Africa/Freetown", "Africa/Monrovia", "Asia/Gaza", "Pacific/Apia"]
)
def test_no_change_of_the_clock_is_missed(zone: str) -> None:
    """Probing each second day finds what reading the clock once a day finds, from 1900 on, odd seconds and all."""
    first, last = -2_208_988_800, 4_102_444_800
    found = [change.at for change in ZoneClock(ZoneInfo(zone)).changes(first, last)]
    assert found == clock_changes(ZoneInfo(zone), first, last)


def test_changes_lie_further_apart_than_the_probes() -> None:
    """In the whole database, read without zoneinfo: two changes between two probes could hide each other."""
    distances = [b - a for zone in available_timezones() for a, b in pairwise(database_changes(zone))]
    assert len(distances) > 25_000
    assert min(distances) > clock.PROBE_SECONDS + clock.DAY


def test_changes_lie_within_the_years_that_a_search_reads() -> None:
    """Before them a clock has one offset, after them one yearly rule: a search that finds nothing may end."""
    changes = [change for zone in available_timezones() for change in database_changes(zone)]
    assert min(changes) > clock.FIRST_CHANGE
    assert max(changes) < clock.LAST_RULE_CHANGE


def test_a_change_is_told_to_the_second() -> None:
    """The instants are those of the database."""
    changes = list(ZoneClock(ZoneInfo("Europe/Berlin")).changes(instant_of(when(1_767_225_600)), 1_798_761_600))
    assert changes == [Change(1_774_746_000, 3600, 7200), Change(1_792_890_000, 7200, 3600)]
    assert when(changes[0].at) - when(changes[1].at) == timedelta(days=-210)
