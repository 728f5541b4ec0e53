"""Pod settings: the operator's defaults, the task's own settings, and Kueue's queues."""

from dataclasses import replace
from typing import Any

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import request_order, slot_order
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.errors import InvalidResourceError, SettingsError
from carillon_core.resources.names import LABEL_QUEUE
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import parse_spec
from carillon_operator.settings import Settings
from support.builders import REQUEST_UID, TASK_UID, RequestBuilder, TaskBuilder, at, make_request, make_task

SLOT = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))
NOW = Launch(at("00:10"), execution_id(REQUEST_UID, at("00:10"), Cause.MANUAL), Cause.MANUAL)
BATCH = {"key": "pool", "operator": "Equal", "value": "batch", "effect": "NoSchedule"}
SPOT = {"key": "spot", "operator": "Exists"}
DEFAULT = {
    "nodeSelector": {"pool": "batch", "zone": "a"},
    "tolerations": [BATCH],
    "priorityClassName": "low",
    "serviceAccountName": "runners",
    "imagePullSecrets": [{"name": "registry"}],
    "resources": {"requests": {"cpu": "50m"}},
}
TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"k" * 32), pod=PodSettings.model_validate(DEFAULT))
CONTAINER = {"container": {"image": "busybox:1.37", "resources": {"limits": {"memory": "64Mi"}}}}


def job_of(task: TaskBuilder, template: RunnerTemplate = TEMPLATE) -> dict[str, Any]:
    """Return the Job of a task's slot."""
    return job_manifest(slot_order(task.observed(), SLOT), template)


def job_of_request(request: RequestBuilder, task: TaskBuilder | None) -> dict[str, Any]:
    """Return the Job of a request."""
    return job_manifest(request_order(request.observed(), task.observed() if task else None, NOW), TEMPLATE)


def said(job: dict[str, Any]) -> dict[str, Any]:
    """Return the pod settings of a Job's pod."""
    pod = job["spec"]["template"]["spec"]
    names = ("nodeSelector", "tolerations", "priorityClassName", "serviceAccountName", "imagePullSecrets")
    return {name: pod[name] for name in names if name in pod}


def test_without_settings_a_pod_is_as_ever() -> None:
    """It has no additional fields, and the runner's own resources."""
    job = job_of(make_task().every(60), RunnerTemplate("runner:1", TokenKey(b"k" * 32)))
    assert said(job) == {}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}
    assert "suspend" not in job["spec"]
    assert LABEL_QUEUE not in job["metadata"]["labels"]


@pytest.mark.parametrize("task", [{"counter": {}}, CONTAINER], ids=["a runner", "a container"])
def test_the_operators_default_holds_for_every_pod(task: dict[str, Any]) -> None:
    """This holds for runners and users' containers; the default resources are for runners only."""
    job = job_of(make_task().every(60).with_spec(task=task))
    assert said(job) == {name: value for name, value in DEFAULT.items() if name != "resources"}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    own = {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}
    assert container["resources"] == ({"limits": {"memory": "64Mi"}} if task is CONTAINER else own)
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_what_a_task_says_wins_and_lists_are_joined() -> None:
    """Merging is by key or name; duplicates appear once."""
    pod = {
        "nodeSelector": {"zone": "b"},
        "tolerations": [SPOT, BATCH],
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}, {"name": "own"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    job = job_of(make_task().every(60).with_spec(pod=pod))
    assert said(job) == {
        "nodeSelector": {"pool": "batch", "zone": "b"},
        "tolerations": [BATCH, SPOT],
        "priorityClassName": "high",
        "serviceAccountName": "runners",
        "imagePullSecrets": [{"name": "registry"}, {"name": "own"}],
    }
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "1Gi"}}


def test_a_request_runs_as_its_task_does_unless_it_says_otherwise() -> None:
    """Pod settings and queue are the task's; a request with its own task has the operator's defaults."""
    task = make_task().every(60).with_spec(pod={"priorityClassName": "high"}, queueName="nightly")
    job = job_of_request(make_request(), task)
    assert (said(job)["priorityClassName"], job["metadata"]["labels"][LABEL_QUEUE]) == ("high", "nightly")
    job = job_of_request(make_request(pod={"priorityClassName": "now"}, queueName="urgent"), task)
    assert (said(job)["priorityClassName"], job["metadata"]["labels"][LABEL_QUEUE]) == ("now", "urgent")


@pytest.mark.parametrize(
    ("own", "default", "want"), [("a", None, "a"), ("a", "b", "a"), (None, "b", "b"), (None, None, None)]
)
def test_a_queue_has_the_job_wait(own: str | None, default: str | None, want: str | None) -> None:
    """It has Kueue's label and is suspended, so that it has no pod before its admission."""
    job = job_of(make_task().every(60).with_spec(queueName=own), replace(TEMPLATE, queue_name=default))
    assert job["metadata"]["labels"].get(LABEL_QUEUE) == want
    assert job["spec"].get("suspend", False) is (want is not None)


def test_a_job_waits_for_as_long_as_it_is_suspended() -> None:
    """Then it is active; a finished Job does not wait."""
    job = job_of(make_task().every(60).with_spec(queueName="a"))
    job["metadata"]["uid"] = "11111111-8b86-4011-b42d-00c04fc964ff"
    seen = observed_job(job)
    assert seen is not None
    assert (seen.active, seen.waiting) == (True, True)
    job["spec"]["suspend"] = False
    again = observed_job(job)
    assert again is not None
    assert (again.active, again.waiting) == (True, False)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a key that is no label's": ({"pod": {"nodeSelector": {"a b": "x"}}}, "spec.pod.nodeSelector"),
    "a value that is no label's": ({"pod": {"nodeSelector": {"a": "x/y"}}}, "spec.pod.nodeSelector.a"),
    "a toleration with two meanings": (
        {"pod": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "remove the value",
    ),
    "a toleration of nothing": ({"pod": {"tolerations": [{"value": "b"}]}}, "add one, or write operator: Exists"),
    "seconds without their effect": ({"pod": {"tolerations": [{"key": "a", "tolerationSeconds": 5}]}}, "NoExecute"),
    "an operator that is none": ({"pod": {"tolerations": [{"key": "a", "operator": "In"}]}}, "tolerations.0.operator"),
    "a field that a pod has and this has not": ({"pod": {"hostNetwork": True}}, "spec.pod.hostNetwork"),
    "a queue in capitals": ({"queueName": "Nightly"}, "spec.queueName"),
    "a queue without a name": ({"queueName": ""}, "spec.queueName"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_pod_could_have_is_named(case: str) -> None:
    """The problem names the field, before anything is launched."""
    fields, want = BAD[case]
    with pytest.raises(InvalidResourceError) as refused:
        parse_spec({"intervalSeconds": 60, "task": {"counter": {}}, **fields}, strict=True)
    assert want in "; ".join(str(problem) for problem in refused.value.problems).replace("[0]", ".0")


NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}


def test_the_operator_is_told_by_its_environment() -> None:
    """The variables are JSON as in a task's spec.pod, and a queue's name; both are optional."""
    bare = Settings.from_env(NEEDED).runner
    assert (bare.pod, bare.queue_name) == (PodSettings(), None)
    text = '{"nodeSelector": {"pool": "batch"}}'
    told = Settings.from_env(NEEDED | {"CARILLON_POD_DEFAULTS": text, "CARILLON_QUEUE_NAME": "nightly"}).runner
    assert (told.pod.node_selector, told.queue_name) == ({"pool": "batch"}, "nightly")


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"CARILLON_POD_DEFAULTS": "pool=batch"}, "CARILLON_POD_DEFAULTS: must be a JSON object"),
        ({"CARILLON_POD_DEFAULTS": '{"hostNetwork": true}'}, "CARILLON_POD_DEFAULTS.hostNetwork"),
        ({"CARILLON_POD_DEFAULTS": "[]"}, "CARILLON_POD_DEFAULTS"),
        ({"CARILLON_QUEUE_NAME": "a/b"}, "CARILLON_QUEUE_NAME: must be at most 63"),
    ],
)
def test_a_wrong_default_is_named(change: dict[str, str], want: str) -> None:
    """The error names the variable, the field and the fix, before the operator starts."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(NEEDED | change)
    assert want in str(refused.value)
