"""The CronJobs of proofs/cronjobs: all can be converted, and run at the times at which they ran."""

from datetime import UTC, datetime

import pytest

from carillon_cli.conversion.cronjobs import Conversion, convert
from carillon_cli.documents import Document
from cronjobs.corpus import DENSE, SCHEDULES, cronjobs

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def conversions() -> list[Conversion]:
    """Convert all."""
    return [convert(Document(f"item {k}", "CronJob", raw), "UTC", START) for k, raw in enumerate(cronjobs(), 1)]


def test_all_are_converted_and_differ_only_at_changes_of_the_clock(conversions: list[Conversion]) -> None:
    """The counts are those of the corpus; a change of it or of the time zones shows here."""
    failed = [line for each in conversions if not each.converted for line in each.lines()]
    assert failed == []
    compared = [each.comparison for each in conversions if each.comparison is not None]
    counts = {
        "converted": len(compared),
        "with all times the same": sum(not each.at_changes for each in compared),
        "fire times": sum(each.times for each in compared),
        "differences at changes of the clock": sum(len(each.at_changes) for each in compared),
    }
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()))  # noqa: T201  # shown if the test fails
    assert len({each.document.name for each in conversions}) == counts["converted"] >= 200
    assert counts["fire times"] > 1_000_000
    assert counts["with all times the same"] > 150
    assert counts["differences at changes of the clock"] > 20


def test_the_corpus_has_every_schedule_that_it_lists(conversions: list[Conversion]) -> None:
    """Dense ones occur once, because each costs a second."""
    used = [each.document.raw["spec"]["schedule"] for each in conversions]
    assert {schedule for schedule, _ in SCHEDULES} <= set(used)
    assert all(used.count(schedule) == 1 for schedule in DENSE)
