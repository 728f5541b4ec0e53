"""Why a task ran, or did not, at a time: from its present object and its past. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from carillon_api.schemas.reports.why import (
    ChangedBy,
    ExecutionBrief,
    RevisionBrief,
    RevisionView,
    SuspensionView,
    Why,
)
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import FURTHEST, entries_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.why.question import Case, Present, Question, instant_of, question_of, zone_of
from carillon_core.domain.why.revision import TaskRevision, revision_of
from carillon_core.domain.why.verdict import verdict_of
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import RevisionId
from carillon_core.resources.base import rfc3339

Authors = Mapping[RevisionId, str]
"""The users who made revisions."""


def case_of(
    asked: datetime | None,
    now: datetime,
    kept: Sequence[TaskRevision],
    raw: Mapping[str, Any] | None,
    known: Timetables,
) -> Case:
    """Return everything that is known about a time.

    Args:
        asked: The time; without an offset, it is in the task's present zone. None means now.
        now: The current time.
        kept: The revisions in the history, newest first.
        raw: The task's object; None if there is none.
        known: The cached timetables.

    Raises:
        InvalidResourceError: The time is too far ahead.
        TooMuchWorkError: The task's spec takes too much work.

    """
    present, revisions = None, list(kept)
    if raw is not None:
        task = CPU_LIMIT.run(partial(ObservedTask.from_object, raw))
        why = entries_of([raw], known)[0].why
        present = Present(task.meta.uid, task.created_at, task.status, why)
        if (task.meta.uid, task.meta.generation) not in {each.id for each in kept}:
            # the operator has not recorded it yet
            latest = replace(CPU_LIMIT.run(partial(revision_of, task, now)), spec=None)
            revisions = sorted([latest, *kept], key=lambda each: each.seen_at, reverse=True)
    at = now if asked is None else asked
    if at.tzinfo is None:
        at = instant_of(at, zone_of(revisions[0].rules if revisions else None))
    if at > now + FURTHEST:
        message = f"must be at most ten years ahead: set it to a time before {rfc3339(now + FURTHEST)}"
        raise InvalidResourceError([FieldProblem("at", message)])
    at = at.astimezone(UTC).replace(microsecond=0)
    return Case(at=at, now=now, revisions=revisions, present=present)


def question(case: Case) -> Question:
    """Return the question that a case asks, within the limit of CPU time; raises ``TooMuchWorkError``."""
    return CPU_LIMIT.run(partial(question_of, case))


def why_view(namespace: str, task: str, asked: Question, row: ExecutionRecord | None) -> Why:
    """Return the answer; raises ``TooMuchWorkError``."""
    case, revision = asked.case, asked.revision
    verdict = CPU_LIMIT.run(partial(verdict_of, asked, row))
    suspension = verdict.suspension
    said = row if verdict.by_row else None
    return Why(
        namespace=namespace,
        task=task,
        at=case.at,
        time_zone=zone_of(None if revision is None else revision.rules),
        outcome=verdict.outcome,
        message=verdict.message,
        reason=verdict.reason or None,
        slot=asked.slot or (said and said.slot),
        execution=said and _execution(said),
        revision=None if revision is None else _brief(revision, case.authors),
        suspension=None
        if suspension is None
        else SuspensionView(
            since=suspension.revision.seen_at,
            since_or_earlier=suspension.since_or_earlier,
            generation=suspension.revision.generation,
            changed_by=_changed_by(suspension.revision, case.authors),
        ),
        clock_change=asked.clock_note,
        slot_before=asked.before,
        slot_after=asked.after,
    )


def revision_view(revision: TaskRevision, authors: Authors) -> RevisionView:
    """Return the view of a revision."""
    return RevisionView(
        **dict(_brief(revision, authors)),
        created_at=revision.created_at,
        last_seen_at=revision.last_seen_at,
        spec=revision.spec,
        problem=revision.problem,
    )


def since_of(revisions: Sequence[TaskRevision]) -> datetime:
    """Return a time before which no change made one of these revisions; clocks differ."""
    return min(each.seen_at for each in revisions) - timedelta(minutes=5)


def _brief(revision: TaskRevision, authors: Authors) -> RevisionBrief:
    return RevisionBrief(
        uid=revision.task_uid,
        generation=revision.generation,
        seen_at=revision.seen_at,
        changed_by=_changed_by(revision, authors),
    )


def _changed_by(revision: TaskRevision, authors: Authors) -> ChangedBy:
    return ChangedBy(manager=revision.manager, user=authors.get(revision.id))


def _execution(row: ExecutionRecord) -> ExecutionBrief:
    return ExecutionBrief(
        id=row.id,
        slot=row.slot,
        first_slot=row.first_slot,
        status=row.status,
        reason=row.reason,
        message=row.message,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
