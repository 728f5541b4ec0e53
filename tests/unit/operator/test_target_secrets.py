"""Which Secrets an HTTPTarget may use: labelled ones, and never Carillon's own, which no pod of a user may use."""

from dataclasses import replace
from typing import Any

import pytest

import support.operator as world
from support.operator import KEY, SETTINGS, Operator, operator

__all__ = ["operator"]
LABEL = {"carillon.dev/http-target": "true"}


def spec_with(secret: str) -> dict[str, Any]:
    """Return the spec of a target that refers to a Secret twice."""
    return {
        "url": "https://example.com/",
        "headers": [{"name": "Authorization", "secretKeyRef": {"name": secret, "key": "k"}}],
        "signing": {"secretKeyRefs": [{"name": secret, "key": "k"}]},
    }


async def calling(operator: Operator, secret: str, labels: dict[str, str] | None) -> None:
    """Create a task with a target, and the target's Secret with these labels."""
    operator.cluster.put_object("HTTPTarget", KEY[0], "crm", spec_with(secret))
    if labels is not None:
        operator.cluster.secret_marks[KEY[0], secret] = labels
    await operator.create_task(intervalSeconds=30, task={"http": {"targetRef": {"name": "crm"}}})
    await operator.turn("00:00:30")


async def ready(operator: Operator) -> tuple[str, str, str]:
    """Return status, reason and message of the task's condition."""
    (task,) = await operator.cluster.tasks.list(None)
    (found,) = (c for c in task["status"]["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"], found["message"]


async def test_a_secret_without_the_label_is_not_used(operator: Operator) -> None:
    """The slot has a row, and the condition names each field and the command that permits it."""
    await calling(operator, "keys", {"team": "a"})
    assert operator.job_names() == []
    assert operator.rows() == [("00:00:30", "missed", "SecretNotAllowed")]
    status, reason, message = await ready(operator)
    assert (status, reason) == ("False", "SecretNotAllowed")
    assert "spec.headers[0].secretKeyRef: Secret keys lacks the label that permits its use" in message
    assert "kubectl label secret keys --namespace default carillon.dev/http-target=true" in message


async def test_the_next_slot_is_launched_once_the_secret_has_the_label(operator: Operator) -> None:
    """The label is read before each launch."""
    await calling(operator, "keys", {})
    operator.cluster.secret_marks[KEY[0], "keys"] = LABEL
    await operator.turn("00:01:00")
    assert len(operator.job_names()) == 1
    assert (await ready(operator))[:2] == ("True", "Scheduled")


@pytest.mark.parametrize("labels", [LABEL, None], ids=["labelled", "missing"])
async def test_a_labelled_or_a_missing_secret_is_launched(operator: Operator, labels: dict[str, str] | None) -> None:
    """The runner names the missing one."""
    await calling(operator, "keys", labels)
    assert len(operator.job_names()) == 1


async def test_a_request_is_refused_for_the_same_reason(operator: Operator) -> None:
    """A request with a task of its own has a row, too."""
    operator.cluster.put_object("HTTPTarget", KEY[0], "crm", spec_with("keys"))
    operator.cluster.secret_marks[KEY[0], "keys"] = {}
    await operator.create_task(intervalSeconds=3600, task={"http": {"targetRef": {"name": "crm"}}})
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:00:01")
    assert operator.job_names() == []
    assert [row[1:] for row in operator.rows()] == [("missed", "SecretNotAllowed")]


async def test_any_secret_is_used_if_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator then asks for no labels, and needs no permission."""
    monkeypatch.setattr(world, "SETTINGS", replace(SETTINGS, target_secrets="any"))
    operator = Operator()
    await calling(operator, "keys", {})
    assert len(operator.job_names()) == 1


async def test_the_operators_own_secret_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its default name the target is invalid, whatever the labels and the setting say."""
    monkeypatch.setattr(world, "SETTINGS", replace(SETTINGS, target_secrets="any"))
    operator = Operator()
    await calling(operator, "carillon-runner", LABEL)
    assert operator.job_names() == []
    assert operator.rows() == [("00:00:30", "failed", "TargetInvalid")]
    status, reason, message = await ready(operator)
    assert (status, reason) == ("False", "TargetInvalid")
    assert "must not be carillon-runner, which is Carillon's own" in message


async def test_the_operators_own_secret_has_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of ``CARILLON_RUNNER_SECRET`` is refused, and so is what its label says is Carillon's."""
    other = replace(SETTINGS, target_secrets="any", runner=replace(SETTINGS.runner, secret_name="logins"))  # noqa: S106  # a name
    monkeypatch.setattr(world, "SETTINGS", other)
    operator = Operator()
    await calling(operator, "logins", LABEL)
    assert operator.rows() == [("00:00:30", "missed", "SecretNotAllowed")]
    monkeypatch.setattr(world, "SETTINGS", SETTINGS)
    operator = Operator()
    await calling(operator, "logins", LABEL | {"app.kubernetes.io/managed-by": "carillon"})
    assert operator.rows() == [("00:00:30", "missed", "SecretNotAllowed")]


FROM = [{"secretRef": {"name": "logins"}}]
PODS: dict[str, dict[str, Any]] = {
    "spec.task.container.envFrom[0].secretRef.name": {"container": {"image": "busybox", "envFrom": FROM}},
    "spec.task.job.template.spec.template.spec.containers[0].envFrom[0].secretRef.name": {
        "job": {"template": {"spec": {"template": {"spec": {"containers": [{"name": "a", "envFrom": FROM}]}}}}}
    },
}


@pytest.mark.parametrize("path", PODS)
async def test_a_users_pod_never_uses_the_operators_own_secret(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Whatever its name is: only the operator knows it, so that no check before the launch does."""
    other = replace(SETTINGS, runner=replace(SETTINGS.runner, secret_name="logins"))  # noqa: S106  # a name
    monkeypatch.setattr(world, "SETTINGS", other)
    operator = Operator()
    await operator.create_task(intervalSeconds=30, task=PODS[path])
    await operator.turn("00:00:30")
    assert operator.job_names() == []
    assert operator.rows() == [("00:00:30", "missed", "SecretNotAllowed")]
    assert f"{path}: must not be logins, which is Carillon's own" in (await ready(operator))[2]
