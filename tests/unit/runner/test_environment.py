"""``read_environment``: it reads what the operator writes, and names invalid variables."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from carillon_core import contract
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.egress.rules import AllowList, parse_allow_list
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.errors import SettingsError
from carillon_operator.settings import Settings
from carillon_runner.environment import read_environment
from support.builders import RUNNER_ENV, TASK_UID, at, make_task


def test_a_whole_environment_is_read() -> None:
    """Each variable has its type, and the URL is in libpq's form."""
    environment = read_environment(RUNNER_ENV)
    assert environment.record_url == "postgresql://carillon:hunter2@db:5432/carillon"
    assert environment.execution_id == UUID(RUNNER_ENV[contract.ENV_EXECUTION_ID])
    assert (environment.task_type, environment.spec) == ("sum", {"a": 1, "b": 2})
    assert environment.slot == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert environment.timeout_seconds == 60
    assert environment.termination_log is None


def test_a_recorder_comes_before_a_database() -> None:
    """During an upgrade a pod may have both; the wait for the claim is as long as the execution unless it is told."""
    given = {contract.ENV_RECORDER_URL: "https://recorder:8443/", contract.ENV_RECORDER_CA: "PEM"}
    environment = read_environment(RUNNER_ENV | given)
    assert (environment.record_url, environment.recorder_ca) == ("https://recorder:8443", "PEM")
    assert environment.claim_seconds == environment.timeout_seconds
    assert read_environment(RUNNER_ENV | {contract.ENV_CLAIM_SECONDS: "600"}).claim_seconds == 600


def test_what_the_operator_writes_is_what_the_runner_reads() -> None:
    """The environment in a Job's manifest, as the kubelet would pass it, is valid."""
    launch = Launch(
        slot=at("00:05"), cause=Cause.SCHEDULE, execution_id=execution_id(TASK_UID, at("00:05"), Cause.SCHEDULE)
    )
    template = RunnerTemplate("image", TokenKey(b"k" * 32))
    manifest = job_manifest(slot_order(make_task("report").every(300).observed(), launch), template)
    written = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
    env = {e["name"]: e["value"].replace("$$", "$") for e in written if "value" in e}
    from_elsewhere = {name: RUNNER_ENV[name] for name in (contract.ENV_DATABASE_URL, contract.ENV_POD_NAME)}
    environment = read_environment(env | from_elsewhere)
    assert environment.execution_id == launch.execution_id
    assert (environment.task, environment.slot, environment.cause) == ("report", at("00:05"), "schedule")


@pytest.mark.parametrize(
    ("task", "want"),
    [
        ({"http": {"url": "http://db.shop.svc/"}}, parse_allow_list("*.svc,10.96.0.0/12:443")),
        ({"sum": {"a": 1, "b": 2}}, None),
    ],
)
def test_the_allow_list_reaches_the_pods_of_http_tasks(task: dict[str, Any], want: AllowList | None) -> None:
    """The runner decides by the operator's setting."""
    needed = {"DATABASE_URL": "postgresql://x:y@z/y", "CARILLON_RUNNER_IMAGE": "runner:1"}
    settings = Settings.from_env(needed | {"CARILLON_HTTP_ALLOW": "*.svc, 10.96.0.0/12:443"})
    launch = Launch(
        slot=at("00:05"), cause=Cause.SCHEDULE, execution_id=execution_id(TASK_UID, at("00:05"), Cause.SCHEDULE)
    )
    order = slot_order(make_task("report").every(300).with_spec(task=task).observed(), launch)
    written = job_manifest(order, settings.runner)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert read_environment(RUNNER_ENV | {e["name"]: e["value"] for e in written if "value" in e}).http_allow == want


def test_the_representation_hides_what_may_be_secret() -> None:
    """A logged environment contains neither the database's password nor the task's headers."""
    assert "hunter2" not in repr(read_environment(RUNNER_ENV))


@pytest.mark.parametrize("name", sorted(RUNNER_ENV))
def test_a_missing_variable_is_named(name: str) -> None:
    """Unset and empty are the same error."""
    for env in ({**RUNNER_ENV, name: ""}, {key: value for key, value in RUNNER_ENV.items() if key != name}):
        with pytest.raises(SettingsError, match=f"^{name} is not set"):
            read_environment(env)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (contract.ENV_EXECUTION_ID, "seventeen"),
        (contract.ENV_TASK_UID, "seventeen"),
        (contract.ENV_SLOT, "yesterday"),
        (contract.ENV_SLOT, "2026-01-01T00:05:00"),
        (contract.ENV_TIMEOUT_SECONDS, "soon"),
        (contract.ENV_TIMEOUT_SECONDS, "0"),
        (contract.ENV_TIMEOUT_SECONDS, "-1"),
        (contract.ENV_TIMEOUT_SECONDS, "nan"),
        (contract.ENV_TIMEOUT_SECONDS, "1e400"),
        (contract.ENV_DATABASE_URL, "mysql://carillon:hunter2@db/carillon"),
        (contract.ENV_RECORDER_URL, "ftp://recorder"),
        (contract.ENV_RECORDER_URL, "https://hunter2@recorder"),
        (contract.ENV_RECORDER_URL, "https://recorder/path"),
        (contract.ENV_CLAIM_SECONDS, "soon"),
        (contract.ENV_TASK, "{"),
        (contract.ENV_TASK, "[]"),
        (contract.ENV_TASK, "{}"),
        (contract.ENV_TASK, '{"sum": {}, "sleep": {}}'),
        (contract.ENV_TASK, '{"sum": 3}'),
        (contract.ENV_TASK, '{"sum": {"a": NaN, "b": 1}}'),
        (contract.ENV_TASK, '{"sum": ' + "[" * 100_000),
    ],
)
def test_an_unreadable_variable_is_named(name: str, value: str) -> None:
    """The message names the variable, and contains nothing that may be secret."""
    with pytest.raises(SettingsError, match=f"^{name} ") as caught:
        read_environment({**RUNNER_ENV, name: value})
    assert "hunter2" not in str(caught.value)


def test_a_task_type_of_a_newer_operator_is_read() -> None:
    """The execution gets a row, and fails because this runner does not know the type."""
    environment = read_environment({**RUNNER_ENV, contract.ENV_TASK: json.dumps({"container": {"image": "x"}})})
    assert environment.task_type == "container"


def test_a_task_in_several_variables_is_put_together() -> None:
    """A long task does not fit into one variable: Linux allows 128 KiB."""
    whole = json.dumps({"sum": {"a": 1, "b": 2}})
    env = {
        **RUNNER_ENV,
        contract.ENV_TASK: whole[:5],
        f"{contract.ENV_TASK}_1": whole[5:9],
        f"{contract.ENV_TASK}_2": whole[9:],
    }
    assert read_environment(env).spec == {"a": 1, "b": 2}
