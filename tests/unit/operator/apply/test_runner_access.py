"""What runner pods are told in order to record, and what the operator writes for it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from carillon_core import contract
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.postgres.engine import credentials
from carillon_core.adapters.postgres.roles.namespace_login import namespace_url, role_name
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.manifest import RecorderAddress, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.errors import SettingsError, UnavailableError
from carillon_operator.apply.runner_access import MissingLoginError, RecorderAccess, RunnerSecret, SharedLogin
from carillon_operator.recorder_settings import RecorderSettings
from carillon_operator.settings import Settings
from support.builders import CREATED, TASK_UID, at, make_task
from support.operator import TEMPLATE

URL = "https://carillon-recorder.carillon-system.svc:8443"
NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}


def recorded(recorder: RecorderAddress | None, timeout: int = 60) -> Mapping[str, object]:
    """Return the environment of a runner, and its Job's deadline."""
    launch = Launch(at("00:05"), execution_id(TASK_UID, at("00:05"), Cause.SCHEDULE), Cause.SCHEDULE)
    order = slot_order(make_task("report").every(300).with_spec(timeoutSeconds=timeout).observed(), launch)
    spec = job_manifest(order, replace(TEMPLATE, recorder=recorder))["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    env = {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
    return env | {"deadline": spec["activeDeadlineSeconds"]}


def test_with_a_recorder_the_pod_is_told_its_url_and_ca_and_no_secret() -> None:
    """Without one, it reads the database's URL from the Secret of its namespace."""
    env = recorded(RecorderAddress(URL, "PEM"))
    assert (env[contract.ENV_RECORDER_URL], env[contract.ENV_RECORDER_CA]) == (URL, "PEM")
    assert contract.ENV_DATABASE_URL not in env
    assert contract.ENV_RECORDER_CA not in recorded(RecorderAddress(URL))
    assert recorded(None)[contract.ENV_DATABASE_URL] == {
        "secretKeyRef": {"name": "carillon-runner", "key": "database-url"}
    }


@pytest.mark.parametrize(("timeout", "claim", "deadline"), [(1, "300", 631), (3600, "3600", 7530)])
def test_the_wait_for_the_claim_does_not_count_against_the_time_out(timeout: int, claim: str, deadline: int) -> None:
    """The Job's deadline has room for both, for the pod's start and for its end."""
    env = recorded(RecorderAddress(URL), timeout)
    assert (env[contract.ENV_CLAIM_SECONDS], env["deadline"]) == (claim, deadline)


async def test_with_a_recorder_nothing_is_written_into_a_namespace() -> None:
    """Neither before a launch nor by a sweep; a Secret of before stays, for Jobs of before."""
    cluster = MemoryCluster(clock=lambda: CREATED)
    secret = RunnerSecret(cluster, "carillon-runner", SharedLogin("postgresql://runner"))
    await secret.ensure("shop")
    access = RecorderAccess(RecorderSettings(url=URL))
    await access.ensure("team")
    await access.repair({"shop", "team"})
    assert set(cluster.secrets) == {("shop", "carillon-runner")}
    assert access.given(TEMPLATE).recorder == RecorderAddress(URL)
    assert secret.given(TEMPLATE).recorder is None


def test_a_ca_that_is_replaced_reaches_the_next_pod(tmp_path: Path) -> None:
    """As a renewed authority is; one that cannot be read any more stays as it was."""
    file = tmp_path / "ca.crt"
    file.write_text("first")
    access = RecorderAccess(RecorderSettings(url=URL, ca_file=file))
    assert access.given(TEMPLATE).recorder == RecorderAddress(URL, "first")
    (tmp_path / "new").write_text("second")
    os.replace(tmp_path / "new", file)  # noqa: PTH105  # as a kubelet does
    assert access.given(TEMPLATE).recorder == RecorderAddress(URL, "second")
    file.unlink()
    assert access.given(TEMPLATE).recorder == RecorderAddress(URL, "second")


def test_no_pod_is_launched_without_a_ca_that_is_set(tmp_path: Path) -> None:
    """It could not record; the launch is tried again."""
    access = RecorderAccess(RecorderSettings(url=URL, ca_file=tmp_path / "none"))
    with pytest.raises(UnavailableError, match="CARILLON_RECORDER_CA_FILE cannot be read"):
        access.given(TEMPLATE)


def test_with_a_recorder_the_operator_knows_no_login_of_runners() -> None:
    """So it needs none, also where the chart says that runners must not own the database."""
    settings = Settings.from_env(NEEDED | {"CARILLON_RECORDER_URL": f"{URL}/", "CARILLON_RUNNER_ROLE_REQUIRED": "true"})
    assert settings.recorder == RecorderSettings(url=URL)
    assert (settings.runner_database_url, settings.runners_own_all) == (None, False)


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"CARILLON_RECORDER_URL": "recorder:8443"}, "CARILLON_RECORDER_URL: must be a URL without a path"),
        ({"CARILLON_RECORDER_URL": f"{URL}/v1"}, "CARILLON_RECORDER_URL: must be a URL without a path"),
        (
            {"CARILLON_RECORDER_URL": URL, "CARILLON_RUNNER_DATABASE_URL": "postgresql://runner:p@x/y"},
            "CARILLON_RUNNER_DATABASE_URL: must not be set together with CARILLON_RECORDER_URL",
        ),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str], want: str) -> None:
    """With what to write instead."""
    with pytest.raises(SettingsError, match=f"^{want}"):
        Settings.from_env(NEEDED | change)


URLS = {
    "postgresql://runner:secret@db:5432/carillon": "postgresql://runner_shop:{}@db:5432/carillon",
    "postgresql://db/carillon?user=runner&password=secret&sslmode=require": (
        "postgresql://runner_shop:{}@db/carillon?sslmode=require"
    ),
    "postgresql://ru%40nner:secret@[::1]/carillon": "postgresql://ru%40nner_shop:{}@[::1]/carillon",
}


@pytest.mark.parametrize("url", URLS)
def test_a_namespaces_login_is_derived_from_the_runners(url: str) -> None:
    """The same each time, another one for another namespace, and nothing else of the URL changes."""
    made = namespace_url(url, "shop")
    password = credentials(made)[1]
    assert made == URLS[url].format(password)
    assert len(password) == 64
    assert credentials(namespace_url(url, "team"))[1] != password
    assert credentials(namespace_url(url.replace("secret", "other"), "shop"))[1] != password


@pytest.mark.parametrize("user", ["runner", "r" * 63, "ä" * 31])
def test_a_namespaces_role_has_a_name_that_postgres_does_not_cut(user: str) -> None:
    """And another one than that of a namespace with the same beginning."""
    names = [role_name(user, f"{'n' * 62}{end}") for end in "ab"]
    assert max(len(name.encode()) for name in names) <= 63
    assert names[0] != names[1]


class Logins(SharedLogin):
    """Logins of namespaces, of which those in ``missing`` do not exist yet."""

    missing: frozenset[str] = frozenset({"team"})

    async def is_missing(self, namespace: str) -> bool:
        return namespace in self.missing


async def test_a_namespace_without_a_login_is_launched_nothing_in() -> None:
    """The error says what an administrator has to run; afterwards the next launch succeeds."""
    cluster = MemoryCluster(clock=lambda: CREATED)
    logins = Logins("postgresql://runner")
    access = RunnerSecret(cluster, "carillon-runner", logins)
    with pytest.raises(MissingLoginError, match="to run: carillon-migrate runner-role --namespace team"):
        await access.ensure("team")
    assert cluster.secrets == {}
    logins.missing = frozenset()
    await access.ensure("team")
    assert set(cluster.secrets) == {("team", "carillon-runner")}
