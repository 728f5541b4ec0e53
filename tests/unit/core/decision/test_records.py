"""The rows that the operator writes for an end, a skip, a miss and a refusal."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution, Reason
from carillon_core.domain.decision.records import (
    DELETED_WHILE_ACTIVE,
    End,
    decided_end,
    end_of,
    ended_rows,
    lost_closing,
    refused_row,
    result_of_deleted,
    settled_row,
)
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.resources.meta import Condition
from carillon_core.resources.run_request import RunRequestStatus
from carillon_core.resources.scheduled_task import RunResult, UnrecordedSlot
from support.builders import TASK_UID, at, make_job, make_request, make_task

EXECUTION = "11111111-2222-5333-8444-555555555555"

ENDS: dict[str, tuple[dict[str, Any], tuple[str | None, str | None, str | None]]] = {
    "a success has neither reason nor error": ({"result": RunResult.SUCCEEDED}, ("succeeded", None, None)),
    "a failure without words": (
        {"result": RunResult.FAILED},
        ("failed", "ExecutionFailed", "the pod failed"),
    ),
    "a failure in Kubernetes' words": (
        {"result": RunResult.FAILED, "reason": "OOMKilled", "message": "out of memory"},
        ("failed", "OOMKilled", "out of memory"),
    ),
    "a time-out": (
        {"result": RunResult.TIMED_OUT, "reason": "DeadlineExceeded"},
        ("timed_out", "DeadlineExceeded", "DeadlineExceeded"),
    ),
}


@pytest.mark.parametrize(("job", "want"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_a_job_is_its_status_its_reason_and_its_error(
    job: dict[str, Any], want: tuple[str | None, str | None, str | None]
) -> None:
    """The row and the closing have the same end."""
    ended = make_job("00:10", **job)
    end = end_of(ended)
    assert end is not None

    row, closing = ended_rows(ended, end, at("00:11"))

    assert (row.status, row.reason, row.error) == want
    assert (closing.status, closing.reason, closing.message) == (row.status, row.reason, row.message)
    assert row.finished_at == closing.finished_at == at("00:10:05")


DELETED = End(ExecutionStatus.CANCELLED, Reason.JOB_DELETED, DELETED_WHILE_ACTIVE)


def test_an_active_job_has_no_end() -> None:
    """While an execution is active, there is nothing to record."""
    assert end_of(make_job("00:10")) is None


def test_no_row_ends_before_its_slot() -> None:
    """A slow clock does not let an execution end before it was due."""
    row, closing = ended_rows(make_job("00:10"), DELETED, at("00:09"))
    assert row.finished_at == closing.finished_at == at("00:10")
    entry = UnrecordedSlot(slot=at("00:10"), status="skipped", reason="StillActive", message="it is")
    assert settled_row(make_task().every(30).observed(), entry, at("00:09")).finished_at == at("00:10")


def test_a_containers_row_has_its_exit_code_and_its_attempts() -> None:
    """A user's container has no runner: its row comes from its pods."""
    lost = PodEnd(succeeded=False, finished_at=at("00:10:03"), reason="Evicted", message="no room", pod_name="p1")
    good = PodEnd(succeeded=True, finished_at=at("00:10:05"), exit_code=0, message="done", pod_name="p2")
    job = make_job("00:10", result=RunResult.SUCCEEDED, container=True, attempts=(lost, good))
    end = end_of(job)
    assert end is not None

    row, closing = ended_rows(job, end, at("00:11"))

    assert row.result == {"exitCode": 0, "message": "done"}
    assert [(a.number, a.status, a.reason, a.error) for a in row.attempts] == [
        (1, ExecutionStatus.FAILED, "Evicted", "no room"),
        (2, ExecutionStatus.SUCCEEDED, None, None),
    ]
    assert row.pod_name == closing.pod_name == "p2"


@pytest.mark.parametrize(
    ("now", "want"),
    [
        ("00:10:05.730", "00:10:05.730"),  # 05 means from 05.000 to 05.999
        ("00:10:06", "00:10:05"),
        ("00:10:04.900", "00:10:05"),
    ],
)
def test_an_end_that_is_seen_in_its_second_has_a_fraction(now: str, want: str) -> None:
    """Kubernetes' times are whole seconds; the operator's clock makes them finer if it agrees with the node's."""
    pods = tuple(PodEnd(succeeded=True, finished_at=at(f"00:10:0{k}"), pod_name=f"p{k}") for k in (3, 5))
    job = make_job("00:10", result=RunResult.SUCCEEDED, container=True, attempts=pods)
    row, closing = ended_rows(job, End(ExecutionStatus.SUCCEEDED), at(now))
    assert row.finished_at == closing.finished_at == at(want)
    assert [attempt.finished_at for attempt in row.attempts] == [at("00:10:03"), at(want)]


def test_an_execution_that_is_ended_while_its_pod_lives_has_the_pods_name() -> None:
    """For its logs."""
    job = replace(make_job("00:10", container=True), pod_name="p1")
    row, closing = ended_rows(job, DELETED, at("00:11"))
    assert row.pod_name == closing.pod_name == "p1"
    assert ended_rows(make_job("00:10"), DELETED, at("00:11"))[0].pod_name is None


@pytest.mark.parametrize(("status", "error"), [("skipped", None), ("missed", None), ("failed", "why")])
def test_only_a_failure_is_an_error(status: Any, error: str | None) -> None:
    """Skips and misses have a message; only failures have an error."""
    entry = UnrecordedSlot(slot=at("00:10"), status=status, reason="StillActive", message="why")
    row = settled_row(make_task().every(30).observed(), entry, at("00:11"))
    assert (row.message, row.error, row.task_uid) == ("why", error, TASK_UID)


def test_a_request_that_was_refused_has_a_row_once_its_status_is_stored() -> None:
    """The row is written after the status, from which a restarted operator would start."""
    refused = Condition(
        type="Accepted",
        status="False",
        reason=Reason.STILL_ACTIVE,
        message="it is",
        last_transition_time=at("00:10"),
        observed_generation=1,
    )
    status = RunRequestStatus(conditions=[refused], execution_id=EXECUTION)
    task = make_task().every(30).observed()
    assert refused_row(make_request().observed(status, RunRequestStatus()), task, at("00:11")) is None

    row = refused_row(make_request().observed(status, status), task, at("00:11"))

    assert row is not None
    assert (row.status, row.reason, row.error, row.task_type) == ("skipped", "StillActive", None, "sum")
    broken = replace(task, spec=None)
    unknown = refused_row(make_request().observed(status, status), broken, at("00:11"))
    assert unknown is not None
    assert unknown.task_type == "unknown"


def test_an_open_row_whose_job_is_gone_is_closed_as_failed() -> None:
    """Its runner can no longer close it."""
    row, _ = ended_rows(make_job("00:10"), DELETED, at("00:10"))
    closing = lost_closing(row, at("00:12"))
    assert (closing.id, closing.status, closing.reason) == (row.id, ExecutionStatus.FAILED, Reason.JOB_DELETED)


def test_a_job_that_was_deleted_ended_as_decided_or_was_cancelled() -> None:
    """The reason is the operator's decision; without one, a user has cancelled the execution."""
    job = make_job("00:10")
    end = EndExecution(job.name, job.uid, UUID(EXECUTION), ExecutionStatus.FAILED, "ErrImagePull", "no such image")
    assert result_of_deleted(end) == (RunResult.FAILED, "ErrImagePull", "no such image")
    assert decided_end(job, end).error == "no such image"
    assert not decided_end(job, end).explains
    replaced = EndExecution(job.name, job.uid, UUID(EXECUTION), ExecutionStatus.CANCELLED, "Replaced", "replaced")
    assert decided_end(job, replaced).explains, "its runner may have recorded its termination first"
    assert result_of_deleted(None) == (RunResult.CANCELLED, Reason.JOB_DELETED, DELETED_WHILE_ACTIVE)
