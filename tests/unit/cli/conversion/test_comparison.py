"""The comparison finds differences, and explains only those that a change of the clock explains."""

from datetime import UTC, datetime
from typing import Any

import pytest

from carillon_cli.conversion import robfig
from carillon_cli.conversion.comparison import Comparison, compare
from carillon_cli.conversion.cronjobs import Conversion
from carillon_cli.conversion.mapping import Mapped, Timing
from carillon_cli.documents import Document
from carillon_core.resources.scheduled_task import parse_spec

START = datetime(2026, 1, 1, microsecond=7, tzinfo=UTC)


def compared(cronjob: str, zone: str = "UTC", **task: Any) -> Comparison:
    """Compare a CronJob's schedule with that of a task."""
    spec = parse_spec({"task": {"sum": {"a": 1, "b": 2}}, **task}, strict=True)
    return compare(Timing(robfig.parse(cronjob), zone), spec, START)


def test_equal_times_are_the_same_and_counted() -> None:
    """This includes intervals, whose time of creation is the same."""
    assert compared("0 * * * *", schedule="0 * * * *").summary() == "9,600 fire times in 400 days, the same"
    assert compared("@every 1s", intervalSeconds=1).summary() == "34,560,000 fire times in 400 days, the same"
    assert compared("0 0 1 7 *", schedule="0 0 1 7 *").summary() == "1 fire time in 400 days, the same"


UNEXPLAINED: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "another hour": ("0 3 1 1 *", "UTC", {"schedule": "0 4 1 1 *"}, 4, "only the CronJob runs at 2026-01-01T03:00:00Z"),
    "one time too many": (
        "0 0 1 7 *",
        "UTC",
        {"schedule": "0 0 1,2 7 *"},
        1,
        "only Carillon runs at 2026-07-02T00:00:00Z",
    ),
    "another zone": (
        "0 12 1 7 *",
        "Europe/Berlin",
        {"schedule": "0 12 1 7 *", "timeZone": "UTC"},
        2,
        "only the CronJob runs at 2026-07-01T10:00:00Z",
    ),
    "another interval": ("@every 99h", "UTC", {"intervalSeconds": 98 * 3600}, 193, "an interval differs at 2026-01-05"),
}


@pytest.mark.parametrize(("cronjob", "zone", "task", "count", "first"), UNEXPLAINED.values(), ids=UNEXPLAINED.keys())
def test_other_differences_are_not_explained(
    cronjob: str, zone: str, task: dict[str, Any], count: int, first: str
) -> None:
    """Then the task is not printed."""
    found = compared(cronjob, zone, **task)
    assert not found.at_changes
    assert (len(found.unexplained), found.unexplained[0][: len(first)]) == (count, first)
    document = Document("document 1", "CronJob", {"metadata": {"name": "job"}})
    conversion = Conversion(document, Mapped({}), (), found)
    assert not conversion.converted
    assert "not converted: its times differ" in conversion.lines()[-1]


def test_a_change_of_the_clock_explains_only_the_times_that_it_moves() -> None:
    """Here the task also lacks every time at 05:00, of which 400 are left unexplained."""
    found = compared("30 2,5 * * *", "Europe/Berlin", schedule="30 2 * * *", timeZone="Europe/Berlin")
    assert (len(found.at_changes), len(found.unexplained)) == (2, 400)
    assert (
        found.summary()
        == "800 fire times in 400 days, 2 differ at changes of the clock, 400 differ without an explanation"
    )


def test_a_repeated_time_that_carillon_never_runs_is_not_explained() -> None:
    """Both passes of the CronJob's only time are left unexplained."""
    found = compared("30 2 25 10 *", "Europe/Berlin", schedule="0 5 25 10 *", timeZone="Europe/Berlin")
    assert (len(found.at_changes), len(found.unexplained)) == (0, 3)


def test_several_skipped_times_run_once() -> None:
    """The sentence names the first ones."""
    found = compared("0,10,20,50 2 * * *", "Europe/Berlin", schedule="0,10,20,50 2 * * *", timeZone="Europe/Berlin")
    assert found.at_changes[0] == (
        "2026-03-29 02:00, 02:10, 02:20 and others Europe/Berlin are skipped by the clock: a CronJob does not run, "
        "Carillon runs once at 03:00 (2026-03-29T01:00:00Z)"
    )
    assert len(found.at_changes) == 5


def test_a_second_pass_that_begins_the_days_is_explained() -> None:
    """The first pass was before the time from which the comparison counts."""
    spec = parse_spec(
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "task": {"sum": {"a": 1, "b": 2}}}, strict=True
    )
    timing = Timing(robfig.parse("30 2 * * *"), "Europe/Berlin")
    found = compare(timing, spec, datetime(2026, 10, 25, 1, 0, tzinfo=UTC))
    assert not found.unexplained
    assert "occurs twice" in found.at_changes[0]
