"""The execution that a RunRequest retries, in the rows that the operator writes without a runner's token."""

from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.run_request import parse_request_spec
from support.operator import KEY, Operator

REPEATED = UUID("0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d")
CONTAINER = {"container": {"image": "busybox", "command": ["true"]}}


def request(operator: Operator, **spec: Any) -> None:
    """Request a run of the task that retries an execution."""
    body = {"taskRef": {"name": KEY[1]}, "retryOf": str(REPEATED), **spec}
    operator.cluster.put_object("RunRequest", KEY[0], "now", body)


async def test_a_containers_row_says_what_it_repeats() -> None:
    """The row has it from the launch on."""
    operator = Operator()
    await operator.create_task(intervalSeconds=3600, task=CONTAINER)
    request(operator)
    await operator.turn("00:00:05")
    (row,) = operator.history.rows.values()
    assert (row.status, row.retry_of) == (ExecutionStatus.RUNNING, REPEATED)


async def test_a_row_that_is_written_for_a_lost_one_says_it_too() -> None:
    """It comes from the Job, because the request may be gone by then."""
    operator = Operator()
    await operator.create_task(intervalSeconds=3600)
    request(operator)
    await operator.turn("00:00:05")
    assert not operator.history.rows
    operator.cluster.finish_pod(KEY[0], operator.job_names()[0], 137, "killed")
    job = operator.cluster.jobs[KEY[0], operator.job_names()[0]]
    job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    await operator.turn("00:00:10")
    (row,) = operator.history.rows.values()
    assert (row.status, row.retry_of) == (ExecutionStatus.FAILED, REPEATED)


async def test_the_row_of_a_refused_request_says_it_too() -> None:
    """In this case, its task does not have the parameters."""
    operator = Operator()
    await operator.create_task(intervalSeconds=3600)
    request(operator, parameters={"x": 1})
    await operator.turn("00:00:05")
    (row,) = operator.history.rows.values()
    assert (row.reason, row.retry_of) == ("InvalidParameters", REPEATED)


def test_what_is_no_execution_s_id_is_refused() -> None:
    """The problem has the field's path."""
    with pytest.raises(InvalidResourceError) as refused:
        parse_request_spec({"taskRef": {"name": "a"}, "retryOf": "the last one"}, strict=True)
    assert [problem.path for problem in refused.value.problems] == ["spec.retryOf"]
