"""The mapping from rows of the history to responses. Pure; the routes of executions use it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from carillon_api.schemas import AttemptView, ExecutionDetail, ExecutionView
from carillon_core.domain.execution import Attempt, ExecutionRecord


def execution_view(record: ExecutionRecord) -> ExecutionView:
    """Return a row of the history, its times in UTC."""
    return ExecutionView(**_fields(record))


def execution_detail(record: ExecutionRecord, retried_by: Sequence[UUID]) -> ExecutionDetail:
    """Return a row of the history with its attempts and the ids of its retries."""
    attempts = [_attempt_view(attempt) for attempt in record.attempts]
    return ExecutionDetail(**_fields(record), attempts=attempts, retried_by=list(retried_by))


def _fields(record: ExecutionRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "namespace": record.namespace,
        "task": record.task,
        "task_uid": record.task_uid,
        "task_type": record.task_type,
        "slot": record.slot,
        "first_slot": _utc(record.first_slot),
        "cause": record.cause,
        "status": record.status,
        "reason": record.reason,
        "message": record.message,
        "job_name": record.job_name,
        "pod_name": record.pod_name,
        "created_at": _utc(record.created_at),
        "started_at": _utc(record.started_at),
        "finished_at": _utc(record.finished_at),
        "duration_seconds": _seconds(record.started_at, record.finished_at),
        "result": record.result,
        "error": record.error,
        "retry_of": record.retry_of,
    }


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        status=attempt.status,
        reason=attempt.reason,
        error=attempt.error,
        pod_name=attempt.pod_name,
        started_at=_utc(attempt.started_at),
        finished_at=_utc(attempt.finished_at),
        duration_seconds=_seconds(attempt.started_at, attempt.finished_at),
        status_code=attempt.status_code,
        response_time_ms=attempt.response_time_ms,
    )


def _seconds(started: datetime | None, finished: datetime | None) -> float | None:
    return round((finished - started).total_seconds(), 6) if started and finished else None


def _utc(when: datetime | None) -> datetime | None:
    return when.astimezone(UTC) if when is not None else None
