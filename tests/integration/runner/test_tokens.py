"""The runner as a program, and its token: refusals, a late key, and the row's values from the token."""

import os
import subprocess
import sys
from uuid import UUID, uuid4

import pytest

from carillon_core import contract
from carillon_core.contract import Cause, ExitCode
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import Order, request_order, slot_order
from support.builders import REQUEST_UID, at, make_request, make_task
from support.runner import TOKEN_KEY, Runners, over_both, register, where

pytest_generate_tests = over_both

SUM = {"sum": {"a": 1, "b": 2}}


def test_a_key_that_is_not_known_yet_is_waited_for(runners: Runners) -> None:
    """It counts as an unavailable database: the operator registers the key when it can reach the database."""
    runners.query("DELETE FROM runner_keys")
    runner = runners.start(SUM)
    runner.await_line(f"the key {TOKEN_KEY.id} of the execution's token is not known")
    register(runners.database_url, TOKEN_KEY)
    assert runner.wait() == ExitCode.SUCCEEDED
    assert runners.row()["status"] == "succeeded"


def test_a_key_that_never_comes_ends_the_waiting_at_the_time_out(runners: Runners) -> None:
    """Nothing is run, and the termination message says why."""
    runners.query("DELETE FROM runner_keys")
    runner = runners.start(SUM, timeout_seconds=0.5)
    assert runner.wait() == ExitCode.NOT_RECORDED
    assert "token is not known" in runner.termination_message()


@pytest.mark.parametrize(
    ("token", "want"),
    [("nonsense", "token is malformed"), (f"{TOKEN_KEY.id}.e30=.{'0' * 64}", "token is forged")],
)
def test_a_token_that_the_operator_did_not_make_is_refused_at_once(runners: Runners, token: str, want: str) -> None:
    """Waiting would not help; the message does not contain the token."""
    runner = runners.start(SUM, timeout_seconds=3600, more={contract.ENV_EXECUTION_TOKEN: token})
    assert runner.wait() == ExitCode.NOT_RECORDED
    assert want in runner.termination_message()
    assert token not in runner.log + runner.termination_message()
    assert runners.query("SELECT 1 FROM executions") == []


def as_launched(runners: Runners, order: Order) -> int:
    """Run an order's manifest like the kubelet; return the runner's exit code."""
    pod = job_manifest(order, RunnerTemplate("runner:1", TOKEN_KEY))["spec"]["template"]["spec"]
    env = {e["name"]: e["value"].replace("$$", "$") for e in pod["containers"][0]["env"] if "value" in e}
    given = {**where(runners.runner_url), contract.ENV_POD_NAME: "again-x"}
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return subprocess.run([sys.executable, "-m", "carillon_runner"], check=False, env=env | given | kept).returncode


def test_what_the_operator_launches_is_recorded_as_it_was_asked_for(runners: Runners) -> None:
    """With the manifest's environment, as from the kubelet, the row has all values, including ``retry_of``."""
    repeated = uuid4()
    request, task = make_request(retryOf=str(repeated)), make_task("backup")
    launch = Launch(at("00:10"), execution_id(REQUEST_UID, at("00:10"), Cause.MANUAL), Cause.MANUAL)
    order = request_order(request.observed(), task.every(60).observed(), launch)
    assert as_launched(runners, order) == ExitCode.SUCCEEDED
    row = runners.row(launch.execution_id)
    assert (row["retry_of"], row["origin"], row["task_uid"]) == (repeated, UUID(REQUEST_UID), UUID(order.task_uid))
    assert (row["namespace"], row["task"], row["cause"]) == (order.owner.namespace, "backup", "manual")
    assert (row["job_name"], row["pod_name"], row["slot"]) == (order.job_name, "again-x", launch.slot)


def test_a_counter_that_cannot_be_ends_as_a_failure_of_its_own(runners: Runners) -> None:
    """The token of such a task is still readable; otherwise, nothing could be recorded."""
    task = make_task("backup").every(60).with_spec(task={"counter": {"name": "a\0b"}}).observed()
    launch = Launch(at("00:10"), execution_id(task.meta.uid, at("00:10"), Cause.SCHEDULE), Cause.SCHEDULE)
    assert as_launched(runners, slot_order(task, launch)) == ExitCode.FAILED
    row = runners.row(launch.execution_id)
    assert (row["status"], row["reason"]) == ("failed", "CounterRefused")


def test_a_key_of_another_operator_is_kept_beside_it(runners: Runners) -> None:
    """Runners of both keys can record, for example after a change of the password."""
    register(runners.database_url, TokenKey(b"another".ljust(32)))
    assert runners.start(SUM).wait() == ExitCode.SUCCEEDED
