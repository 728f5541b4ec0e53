"""The Jobs of ``job`` tasks: their templates, whole, with what Carillon sets itself."""

from dataclasses import replace
from typing import Any

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.resources.pods import ImagePullSecret, PodSettings
from support.builders import TASK_UID, at, make_task

TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"k" * 32))
SLOT = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))
MADE = {"terminationMessagePolicy": "FallbackToLogsOnError"}
POD: dict[str, Any] = {
    "restartPolicy": "OnFailure",
    "serviceAccountName": "robot",
    "containers": [
        {
            "name": "runner",
            "image": "busybox:1.37",
            "envFrom": [{"secretRef": {"name": "mine"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
    ],
    "volumes": [{"name": "data", "emptyDir": {}}],
}
TOLD = {**POD, "containers": [{**MADE, **each} for each in POD["containers"]]}
OURS = {
    "app.kubernetes.io/managed-by": "carillon",
    "carillon.dev/task": "backup",
    "carillon.dev/task-uid": TASK_UID,
}


def template(**spec: Any) -> dict[str, Any]:
    """Return a task whose Job has this spec."""
    return {"job": {"template": {"spec": {"template": {"spec": POD}, **spec}}}}


def job_of(task: dict[str, Any], defaults: PodSettings | None = None, **spec: Any) -> dict[str, Any]:
    """Return the Job of a task's slot."""
    observed = make_task().every(60).with_spec(task=task, **spec).observed()
    return job_manifest(slot_order(observed, SLOT), replace(TEMPLATE, pod=defaults or PodSettings()))


def test_the_template_is_taken_whole() -> None:
    """Nothing is left out; only the default of terminationMessagePolicy is another."""
    given = template(backoffLimit=2, completions=3, parallelism=3, completionMode="Indexed", activeDeadlineSeconds=60)
    job = job_of(given)
    assert job["spec"] == {
        "backoffLimit": 2,
        "completions": 3,
        "parallelism": 3,
        "completionMode": "Indexed",
        "activeDeadlineSeconds": 60,
        "template": {"metadata": job["spec"]["template"]["metadata"], "spec": TOLD},
    }


def test_its_labels_and_annotations_are_kept_and_ours_win() -> None:
    """On the Job and on its pods; the labels of others cannot be forged."""
    words = {
        "labels": {"team": "a", "carillon.dev/task-uid": "another"},
        "annotations": {"why": "b", "carillon.dev/slot": "2000-01-01T00:00:00Z"},
    }
    forged = {"metadata": {**words, "name": "x", "ownerReferences": [], "finalizers": ["x/y"]}}
    task = {"job": {"template": {**forged, "spec": {"suspend": True, "template": {**forged, "spec": POD}}}}}
    job = job_of(task)
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert metadata["labels"] == {"team": "a", **OURS}
        assert metadata["annotations"]["why"] == "b"
        assert metadata["annotations"]["carillon.dev/slot"] == "2026-01-01T00:01:00Z"
        assert metadata["annotations"]["carillon.dev/task-type"] == "job"
        assert "finalizers" not in metadata
    assert job["metadata"]["name"] == "backup-1767225660"
    assert [owner["kind"] for owner in job["metadata"]["ownerReferences"]] == ["ScheduledTask"]
    assert "name" not in job["spec"]["template"]["metadata"]
    assert "suspend" not in job["spec"]
    assert observed_job({**job, "metadata": {**job["metadata"], "uid": "j1"}}) is not None


def test_a_time_out_and_a_queue_of_the_task_count() -> None:
    """The time-out takes the place of the Job's deadline; without one there is no deadline."""
    assert "activeDeadlineSeconds" not in job_of(template())["spec"]
    assert job_of(template(activeDeadlineSeconds=60), timeoutSeconds=30)["spec"]["activeDeadlineSeconds"] == 30
    queued = job_of(template(), queueName="night")
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"


def test_the_defaults_of_the_operator_fill_what_is_not_set() -> None:
    """As for every other pod: lists are joined, its own fields win."""
    secret = ImagePullSecret(name="registry")
    defaults = PodSettings(
        node_selector={"pool": "tasks", "zone": "a"}, service_account_name="other", image_pull_secrets=[secret]
    )
    task = {"job": {"template": {"spec": {"template": {"spec": {**POD, "nodeSelector": {"zone": "b"}}}}}}}
    pod = job_of(task, defaults)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "tasks", "zone": "b"}
    assert pod["serviceAccountName"] == "robot"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["containers"] == TOLD["containers"]


def test_a_failed_container_is_recorded_with_the_end_of_its_log_unless_the_template_says_otherwise() -> None:
    """Init containers, too; otherwise a failure would have no message."""
    file = {"name": "b", "terminationMessagePolicy": "File"}
    made = job_of(template(template={"spec": {**POD, "initContainers": [{"name": "a"}], "containers": [file]}}))
    pod = made["spec"]["template"]["spec"]
    assert pod["initContainers"] == [{"name": "a", **MADE}]
    assert pod["containers"] == [file]


def test_a_container_gets_its_environment_volumes_and_account() -> None:
    """The short form has the words of a pod's spec."""
    container = {
        "image": "busybox",
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}}],
        "envFrom": [{"prefix": "X_", "configMapRef": {"name": "words", "optional": True}}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
        "serviceAccountName": "robot",
        "automountServiceAccountToken": True,
    }
    pod = job_of({"container": container}, pod={"serviceAccountName": "other"})["spec"]["template"]["spec"]
    (made,) = pod["containers"]
    assert made["env"][-1] == container["env"][0]  # type: ignore[index]  # a list
    assert made["envFrom"] == container["envFrom"]
    assert made["volumeMounts"] == container["volumeMounts"]
    assert pod["volumes"] == container["volumes"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("robot", True)
    plain = job_of({"container": {"image": "busybox"}})["spec"]["template"]["spec"]
    assert plain["automountServiceAccountToken"] is False
    assert plain.keys().isdisjoint({"volumes", "serviceAccountName"})
    assert plain["containers"][0].keys().isdisjoint({"envFrom", "volumeMounts"})


MALFORMED: dict[str, dict[str, Any]] = {
    "lists for objects": {"nodeSelector": ["a"], "tolerations": 5, "imagePullSecrets": {"name": "x"}},
    "texts for lists": {"containers": "none", "initContainers": "none"},
    "texts in lists": {"containers": ["none", None]},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_left_to_the_api_server(case: str) -> None:
    """Defaults of the operator are added to what they fit; the operator must not fail."""
    defaults = PodSettings.model_validate(
        {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "imagePullSecrets": [{"name": "y"}]}
    )
    pod = job_of(template(template={"spec": MALFORMED[case]}), defaults)["spec"]["template"]["spec"]
    assert {name: pod[name] for name in MALFORMED[case]} == MALFORMED[case]


@pytest.mark.parametrize(
    "whole", [{"metadata": [], "spec": []}, {"spec": {"template": 5}}, {"spec": {"template": {"metadata": "x"}}}]
)
def test_a_template_that_is_no_object_anywhere_makes_a_job_all_the_same(whole: dict[str, Any]) -> None:
    """It has been refused before, unless nothing checked it; the API server refuses the Job."""
    assert job_of({"job": {"template": whole}})["metadata"]["name"] == "backup-1767225660"
