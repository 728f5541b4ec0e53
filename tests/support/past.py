"""Revisions of a task, and cases of questions about them, in the short form that tables of tests need."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from carillon_core.domain.why.question import Case, Present, question_of
from carillon_core.domain.why.revision import Rules, TaskRevision
from carillon_core.domain.why.verdict import Verdict, verdict_of
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from support.builders import TASK_UID
from support.calendars import utc
from support.history_adapters import skipped

NOW = utc("2026-12-01 00:00")
CREATED_AT = utc("2026-01-01 00:00")
NIGHTLY = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}
EARLIER_UID = "00000000-0000-4000-8000-000000000001"


def revision(generation: int = 1, seen: str = "2026-01-01 00:00", **rules: Any) -> TaskRevision:
    """Return a revision of a task that was created with the year; without rules, of an invalid spec."""
    return TaskRevision(
        namespace="team-a",
        task="nightly",
        task_uid=TASK_UID,
        generation=generation,
        created_at=CREATED_AT,
        seen_at=utc(seen),
        last_seen_at=NOW,
        rules=Rules.model_validate(rules) if rules else None,
        problem=None if rules else "spec.schedule: has 4 fields",
        spec={"schedule": "30 2 * * *"} if rules else None,
        manager="kubectl-edit",
    )


def earlier(made: TaskRevision, last_seen: str) -> TaskRevision:
    """Return a revision as that of a task of the same name that was deleted."""
    return replace(made, task_uid=EARLIER_UID, last_seen_at=utc(last_seen))


def present(*, hindrance: tuple[str, str] | None = None, **status: Any) -> Present:
    """Return the task in the cluster, with everything settled unless its status says otherwise."""
    given = {"settledUntil": "2026-12-01T00:00:00Z", **status}
    return Present(TASK_UID, CREATED_AT, ScheduledTaskStatus.model_validate(given), hindrance)


def verdict(at: datetime, *revisions: TaskRevision, task: Present | None = None, **row: Any) -> Verdict:
    """Return the verdict on an instant; with fields of a row, its slot has a row.

    Args:
        at: The instant.
        revisions: Newest first.
        task: None for a task that is gone.
        row: Fields of the slot's row.

    """
    case = Case(at=at, now=NOW, revisions=revisions, present=task)
    question = question_of(case)
    found = None
    if row:
        found = replace(skipped(0, TASK_UID, slot=question.row_at, message=None, reason=None), **row)
    return verdict_of(question, found)
