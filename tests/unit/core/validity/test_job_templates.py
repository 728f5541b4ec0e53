"""What a ``job`` task may not set, and what a container may not refer to."""

from typing import Any

import pytest

from carillon_core.domain.validity.pod_validity import pod_problems
from carillon_core.domain.validity.problems import request_problems
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import parse_spec
from support.builders import at

POD = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "busybox"}]}
RUNNERS = "carillon-runner"
BOTH = {"secretName": "x", "name": RUNNERS}
FIELD = {"fieldRef": {"fieldPath": "a"}}
OWN = "must not be carillon-runner, which is Carillon's own: name a Secret of yours"


def problems(task: dict[str, Any], **spec: Any) -> list[str]:
    """Return the problems of a task's pods."""
    return [str(p) for p in pod_problems(parse_spec({"intervalSeconds": 60, "task": task, **spec}, strict=True))]


def job(**template: Any) -> dict[str, Any]:
    """Return a task with a template."""
    return {"job": {"template": {"spec": {"template": {"spec": POD}}, **template}}}


PATH = "spec.task.job.template"
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a sound one": (job(metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}, "creationTimestamp": None}), []),
    "no spec": ({"job": {"template": {}}}, [f"{PATH}.spec: must be the spec of a Job"]),
    "no pod": (job(spec={"backoffLimit": 1}), [f"{PATH}.spec.template: must be the template of a pod"]),
    "no spec of a pod": (job(spec={"template": {}}), [f"{PATH}.spec.template.spec: must be the spec of a pod"]),
    "a kind": (job(kind="Job"), [f"{PATH}.kind: is not a field of a template"]),
    "a name": (job(metadata={"name": "x"}), [f"{PATH}.metadata.name: cannot be set in a job's template"]),
    "owners": (
        job(metadata={"ownerReferences": []}),
        [f"{PATH}.metadata.ownerReferences: cannot be set in a job's template"],
    ),
    "metadata that is none": (job(metadata=[]), [f"{PATH}.metadata: must be an object"]),
    "labels that are none": (job(metadata={"labels": []}), [f"{PATH}.metadata.labels: must be an object"]),
    "suspend": (
        job(spec={"suspend": True, "template": {"spec": POD}}),
        [f"{PATH}.spec.suspend: cannot be set in a job's template: remove it; use spec.suspend of the task"],
    ),
    "a TTL": (
        job(spec={"ttlSecondsAfterFinished": 0, "template": {"spec": POD}}),
        [f"{PATH}.spec.ttlSecondsAfterFinished: cannot be set in a job's template"],
    ),
    "a label of ours": (
        job(metadata={"labels": {"carillon.dev/task": "x"}}),
        [f"{PATH}.metadata.labels[carillon.dev/task]: cannot be set in a job's template: remove it"],
    ),
    "a queue": (
        job(metadata={"labels": {"kueue.x-k8s.io/queue-name": "x"}}),
        [f"{PATH}.metadata.labels[kueue.x-k8s.io/queue-name]: cannot be set in a job's template: use spec.queueName"],
    ),
    "an annotation of ours on its pods": (
        job(spec={"template": {"metadata": {"annotations": {"carillon.dev/slot": "x"}}, "spec": POD}}),
        [f"{PATH}.spec.template.metadata.annotations[carillon.dev/slot]: cannot be set in a job's template"],
    ),
    "the runners' Secret, in the environment": (
        job(spec={"template": {"spec": {**POD, "containers": [{"envFrom": [{"secretRef": {"name": RUNNERS}}]}]}}}),
        [f"{PATH}.spec.template.spec.containers[0].envFrom[0].secretRef.name: {OWN}"],
    ),
    "the runners' Secret, beside another name that an API server may drop": (
        job(spec={"template": {"spec": {"volumes": [{"projected": {"sources": [{"secret": BOTH}]}}]}}}),
        [f"{PATH}.spec.template.spec.volumes[0].projected.sources[0].secret.name: {OWN}"],
    ),
    "the runners' Secret, as a volume": (
        job(spec={"template": {"spec": {**POD, "volumes": [{"name": "v", "secret": {"secretName": RUNNERS}}]}}}),
        [f"{PATH}.spec.template.spec.volumes[0].secret.secretName: {OWN}"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_carillon_sets_is_refused_by_name(case: str) -> None:
    """With the field and what to do; the rest is the API server's own to judge."""
    task, want = CASES[case]
    found = problems(task)
    assert len(found) == len(want)
    assert [text for text, begin in zip(found, want, strict=True) if not text.startswith(begin)] == []


def test_settings_that_a_job_has_in_its_template_are_refused_beside_it() -> None:
    """They would have no effect."""
    (pod,) = problems(job(), pod={"nodeSelector": {"a": "b"}})
    assert pod.startswith("spec.pod: is not valid with a job: write it in spec.task.job.template.spec.template.spec")
    (retry,) = problems(job(), retry={"limit": 1})
    assert retry == "spec.retry.limit: is not valid with a job: set backoffLimit in spec.task.job.template.spec"


def test_a_request_is_refused_for_its_own_retries_of_a_job() -> None:
    """They would have no effect."""
    spec = parse_request_spec({"task": job(), "retry": {"limit": 1}}, strict=True)
    (problem,) = request_problems(spec, at("00:00"))
    assert str(problem).startswith("spec.retry.limit: is not valid with a job")


def test_a_container_cannot_use_the_runners_secret() -> None:
    """In whatever way it is named."""
    container = {
        "image": "busybox",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": RUNNERS, "key": "database-url"}}}],
        "envFrom": [{"secretRef": {"name": RUNNERS}}],
        "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": RUNNERS}}]}}],
    }
    assert problems({"container": container}) == [
        f"spec.task.container.env[0].valueFrom.secretKeyRef.name: {OWN}",
        f"spec.task.container.envFrom[0].secretRef.name: {OWN}",
        f"spec.task.container.volumes[0].projected.sources[0].secret.name: {OWN}",
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a value of two sources": (
        {
            "env": [
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "a"}, "secretKeyRef": {"name": "a", "key": "b"}}}
            ]
        },
        "spec.task.container.env[0].valueFrom: has fieldRef and secretKeyRef: keep exactly one of them",
    ),
    "a value of no source": (
        {"env": [{"name": "A", "valueFrom": {}}]},
        "spec.task.container.env[0].valueFrom: has none of",
    ),
    "a value and a source": (
        {"env": [{"name": "A", "value": "b", "valueFrom": FIELD}]},
        "spec.task.container.env[0]: has value and valueFrom: keep exactly one of them",
    ),
    "an environment of no source": ({"envFrom": [{"prefix": "A"}]}, "spec.task.container.envFrom[0]: has none of"),
    "a volume without a name": ({"volumes": [{"emptyDir": {}}]}, "spec.task.container.volumes[0]: has no valid name"),
    "a mount of no volume": (
        {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
        "spec.task.container.volumeMounts[0].name: is not the name of a volume of this task: add the volume to volumes",
    ),
    "too much in volumes": (
        {"volumes": [{"name": f"v{n}", "csi": {"driver": "x" * 60_000}} for n in range(2)]},
        "spec.task.container: has volumes that are larger than 65536 bytes as JSON",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parts_of_a_container_that_do_not_fit_are_refused(case: str) -> None:
    """Each with its field and the mend."""
    container, want = REFUSED[case]
    with pytest.raises(InvalidResourceError) as caught:
        problems({"container": {"image": "busybox", **container}})
    assert [str(p) for p in caught.value.problems if str(p).startswith(want)]
