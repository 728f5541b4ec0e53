"""Parts of the chart with all of Carillon: the script of `helm test`, and the operator's account."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from carillon_chart.programs import rendered, values_of
from carillon_local.layout import CHART
from support.ports import own_port
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.stack import Stack

ACCOUNT = "carillon-test"


def run_script(stack: Stack, namespace: str, token_file: Path, api_url: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script like its pod."""
    environment = {"PATH": os.environ["PATH"], "API_URL": api_url or stack.api_url, "NAMESPACE": namespace}
    return subprocess.run(
        [sys.executable, str(CHART / "files" / "installed.py")],
        env=environment | {"TOKEN_FILE": str(token_file)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def token_file(stack: Stack, namespace: str, tmp_path: Path) -> Path:
    """Install the chart's account of `helm test` with its role; give its token."""
    items = rendered("--values", str(values_of("trial")), namespace=namespace)
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    stack.apply_objects(namespace, *(o for o in items if o["kind"] in kinds and o["metadata"]["name"] == ACCOUNT))
    file = tmp_path / "token"
    file.write_text(stack.token(namespace, ACCOUNT))

    def known() -> bool:
        headers = {"Authorization": f"Bearer {file.read_text()}"}
        url = f"{stack.api_url}/api/v1/namespaces/{namespace}/tasks/none/executions"
        answer = httpx.get(url, headers=headers, timeout=30, trust_env=False)
        return answer.status_code != httpx.codes.FORBIDDEN

    until(known, 30, "the role is known to the authorizer")
    return file


def test_the_api_logs_in_to_the_database_as_its_own_role(stack: Stack) -> None:
    """All API calls of these tests therefore use that role, and none has been refused."""
    until(stack.api_ready, 60, "the API has asked the database")
    with psycopg.connect(stack.database_url) as owner:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'carillon_api'"
        (sessions,) = owner.execute(query).fetchone() or (0,)
    assert sessions > 0
    assert "permission denied" not in stack.log("api")


def test_helm_test_runs_a_task_from_its_creation_to_its_end(stack: Stack, namespace: str, token_file: Path) -> None:
    """It has the chart's permissions only, and deletes its objects."""
    done = run_script(stack, namespace, token_file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a task was created, run, recorded and deleted" in done.stdout
    assert stack.kubectl("get", "scheduledtasks", "--namespace", namespace, "--output", "name") == ""


def test_helm_test_keeps_to_the_limit_of_requests(stack: Stack, namespace: str, token_file: Path) -> None:
    """The lowest limit in the values is a burst of one and one request per second: the script waits silently."""
    port = own_port()
    url = f"http://127.0.0.1:{port}"
    stack.start_facade("slow", port, CARILLON_RATE_BURST="1", CARILLON_RATE_LIMIT="1")
    try:
        until(lambda: answers(f"{url}/readyz"), 60, "the slow facade is ready")
        done = run_script(stack, namespace, token_file, url)
    finally:
        stack.end("slow")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a task was created, run, recorded and deleted" in done.stdout


def answers(url: str) -> bool:
    """Return whether the response is successful."""
    try:
        return httpx.get(url, timeout=10, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_helm_test_says_what_is_wrong(stack: Stack, namespace: str, token_file: Path) -> None:
    """Without the permission to create tasks, the test fails with that message."""
    done = run_script(stack, "default", token_file)
    assert done.returncode != 0
    assert "403" in done.stderr
    assert namespace in done.stderr


def test_the_operator_runs_under_the_role_of_the_chart(stack: Stack, namespace: str) -> None:
    """None of its calls in these tests is forbidden, and it is not an administrator."""
    stack.apply(namespace, "held", intervalSeconds=1, maxRuns=1, task={"sum": {"a": 1, "b": 2}})
    stack.await_rows(namespace, "held", 1, "succeeded")
    stack.kubectl("delete", "scheduledtask", "held", "--namespace", namespace)
    # except the "is forbidden" of a namespace that is being deleted, which is not a missing permission
    assert "is forbidden: User" not in stack.log("operator")
    asked = ("auth", "can-i", "list", "secrets", "--as", "system:serviceaccount:carillon-system:carillon-operator")
    assert stack.kubectl(*asked, check=False).strip() == "no"
