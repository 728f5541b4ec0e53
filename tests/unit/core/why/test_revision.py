"""What is kept of a task's spec, since when, and by whom; and the times that are asked about."""

import json
from datetime import datetime
from typing import Any

import pytest

from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.observed.spec_writes import MAX_MANAGER, SpecWrite, spec_write
from carillon_core.domain.why.question import instant_of
from carillon_core.domain.why.revision import MOST_SPEC_CHARACTERS, Rules, TaskRevision, revision_of
from support.builders import make_task
from support.calendars import utc

NOW = utc("2026-06-01 00:00")
SPEC: dict[str, Any] = {"f:spec": {"f:schedule": {}}}


def entry(manager: str, time: Any = "2026-05-01T00:00:00Z", fields: Any = None, **more: Any) -> dict[str, Any]:
    """Return an entry of managedFields that owns the spec."""
    return {"manager": manager, "time": time, "fieldsV1": SPEC if fields is None else fields, **more}


WRITES: dict[str, tuple[Any, SpecWrite]] = {
    "no entries": (None, SpecWrite()),
    "the newest entry": (
        [entry("a"), entry("b", "2026-05-02T00:00:00Z"), entry("c", "2026-04-01T00:00:00Z")],
        SpecWrite("b", utc("2026-05-02 00:00")),
    ),
    "not one of the status": (
        [entry("a"), entry("b", "2026-05-02T00:00:00Z", subresource="status")],
        SpecWrite("a", utc("2026-05-01 00:00")),
    ),
    "not one of labels alone": ([entry("a", fields={"f:metadata": {}})], SpecWrite()),
    "a long name is cut": ([entry("m" * 999)], SpecWrite("m" * MAX_MANAGER, utc("2026-05-01 00:00"))),
    "nonsense": ([None, "x", entry("a", 7), entry("b", "soon"), entry("c", "2026-05-01T00:00:00")], SpecWrite()),
    "nonsense instead of a list": ({"a": 1}, SpecWrite()),
}


@pytest.mark.parametrize(("entries", "want"), WRITES.values(), ids=WRITES.keys())
def test_who_wrote_a_spec(entries: Any, want: SpecWrite) -> None:
    """The manager of the newest entry that owns the spec."""
    assert spec_write({"managedFields": entries}) == want


def revised(generation: int = 1, *entries: dict[str, Any], **task: Any) -> TaskRevision:
    """Return the revision of a task that was created with the year 2026."""
    made = make_task("backup").every(30)
    made.raw["metadata"] |= {"generation": generation, "managedFields": list(entries)}
    if task:
        made.raw["spec"]["task"] = task
    return revision_of(ObservedTask.from_object(made.raw), NOW)


SEEN: dict[str, tuple[int, str | None, str]] = {
    "the first is in force since the creation": (1, "2026-05-01T00:00:00Z", "2026-01-01 00:00"),
    "a later one since it was written": (2, "2026-05-01T00:00:00Z", "2026-05-01 00:00"),
    "or since it was seen, if nothing tells": (2, None, "2026-06-01 00:00"),
    "or if the time is in the future": (2, "2026-07-01T00:00:00Z", "2026-06-01 00:00"),
    "or before the creation": (2, "2025-07-01T00:00:00Z", "2026-06-01 00:00"),
}


@pytest.mark.parametrize(("generation", "written", "want"), SEEN.values(), ids=SEEN.keys())
def test_since_when_a_revision_is_in_force(generation: int, written: str | None, want: str) -> None:
    """Its object tells, as far as that is credible."""
    entries = [entry("a", written)] if written else []
    assert revised(generation, *entries).seen_at == utc(want)


def test_secrets_are_masked_and_the_rest_stays_as_it_was_written() -> None:
    """Defaults that the author did not set are not added."""
    made = revised(http={"url": "https://bob:hunter2@h/x?token=hunter2", "headers": {"Authorization": "hunter2"}})
    assert made.spec == {
        "intervalSeconds": 30,
        "task": {"http": {"url": "https://***@h/x?token=***", "headers": {"Authorization": "***"}}},
    }
    assert made.rules == Rules(interval_seconds=30)


def test_of_a_large_spec_only_the_schedule_is_kept() -> None:
    """Large specs would fill the database."""
    made = revised(http={"url": "https://h/", "body": "x" * MOST_SPEC_CHARACTERS})
    assert (made.spec, made.problem, made.rules) == (None, None, Rules(interval_seconds=30))
    assert len(json.dumps(revised(http={"url": "https://h/", "body": "x" * 1000}).spec)) > 1000


def test_of_an_invalid_spec_the_problem_is_kept() -> None:
    """Without the secrets that it may quote."""
    made = revised(http={"url": 7})
    assert (made.spec, made.rules) == (None, None)
    assert made.problem is not None
    assert made.problem.startswith("spec.task.http.url")


LOCAL: dict[str, tuple[str, str, str]] = {
    "UTC": ("2026-03-29T09:30", "UTC", "2026-03-29 09:30"),
    "in summer": ("2026-07-01T09:30:15", "Europe/Berlin", "2026-07-01 07:30:15"),
    "in spring's gap, after it": ("2026-03-29T02:30", "Europe/Berlin", "2026-03-29 01:30"),
    "repeated in autumn, the first": ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25 00:30"),
}


@pytest.mark.parametrize(("local", "zone", "want"), LOCAL.values(), ids=LOCAL.keys())
def test_a_local_time_is_an_instant(local: str, zone: str, want: str) -> None:
    """In the zone, by the rules for gaps and repeats."""
    assert instant_of(datetime.fromisoformat(local), zone) == utc(want)
