"""Checks the template of a ``job`` task for what Carillon sets itself. Pure.

Everything else is the API server's own to judge: the admission webhook has it
judge the Job without storing it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from carillon_core.errors import FieldProblem
from carillon_core.resources import names
from carillon_core.resources.containers import JobTask
from carillon_core.resources.pods import PodSettings

SET_IN_SPEC: Mapping[str, str] = {
    "suspend": "remove it; use spec.suspend of the task",
    "ttlSecondsAfterFinished": "remove it; use spec.ttlSecondsAfterFinished of the task",
    "selector": "remove it",
    "manualSelector": "remove it",
    "managedBy": "remove it",
}
"""The fields of a Job's spec that a template cannot set, and what to do instead."""
NOT_SETTABLE = "cannot be set in a job's template"
_METADATA = ("labels", "annotations")
_SECRETS = frozenset({"secretKeyRef", "secretRef", "secret"})
"""The references to Secrets in a pod's spec."""


def job_problems(task: JobTask, pod: PodSettings, path: str) -> tuple[FieldProblem, ...]:
    """Return the problems of a job task.

    Args:
        task: The task.
        pod: The pod settings beside it, which must be empty: the template has its own.
        path: The path of the task's field, such as ``spec.task.job``.

    """
    return tuple(_problems(task, pod, path))


def _problems(task: JobTask, pod: PodSettings, path: str) -> Iterator[FieldProblem]:
    if pod != PodSettings():
        yield FieldProblem("spec.pod", f"is not valid with a job: write it in {path}.template.spec.template.spec")
    template, path = task.template, f"{path}.template"
    for name in template.keys() - {"metadata", "spec"}:
        yield FieldProblem(f"{path}.{name}", "is not a field of a template: keep only metadata and spec")
    yield from _metadata_problems(template.get("metadata"), f"{path}.metadata")
    spec = template.get("spec")
    if not isinstance(spec, Mapping):
        yield FieldProblem(f"{path}.spec", "must be the spec of a Job: write it as in a CronJob's jobTemplate")
        return
    for name, mend in SET_IN_SPEC.items():
        if spec.get(name) is not None:
            yield FieldProblem(f"{path}.spec.{name}", f"{NOT_SETTABLE}: {mend}")
    inner = spec.get("template")
    if not isinstance(inner, Mapping):
        yield FieldProblem(f"{path}.spec.template", "must be the template of a pod: write it as in a CronJob")
        return
    yield from _metadata_problems(inner.get("metadata"), f"{path}.spec.template.metadata")
    if not isinstance(inner.get("spec"), Mapping):
        yield FieldProblem(f"{path}.spec.template.spec", "must be the spec of a pod, with its containers")
    yield from pod_secret_problems(inner.get("spec"), f"{path}.spec.template.spec")


def own_secret_hint(own: str) -> str:
    """Return the message for a reference to the Secret that the operator keeps for its runners."""
    return f"must not be {own}, which is Carillon's own: name a Secret of yours"


def pod_secret_problems(part: object, path: str, own: str = names.RUNNER_SECRET) -> Iterator[FieldProblem]:
    """Yield a problem for each reference of a pod to the Secret that the operator keeps for its runners.

    Args:
        part: A part of a pod's spec, as plain JSON.
        path: Its path.
        own: The name of that Secret.

    """
    if isinstance(part, list):
        for number, each in enumerate(part):
            yield from pod_secret_problems(each, f"{path}[{number}]", own)
    if not isinstance(part, Mapping):
        return
    for name, value in part.items():
        if name in _SECRETS and isinstance(value, Mapping):
            for field in ("name", "secretName"):  # an API server that is not strict drops the one that does not belong
                if value.get(field) == own:
                    yield FieldProblem(f"{path}.{name}.{field}", own_secret_hint(own))
        yield from pod_secret_problems(value, f"{path}.{name}", own)


def _metadata_problems(metadata: object, path: str) -> Iterator[FieldProblem]:
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield FieldProblem(path, "must be an object with labels and annotations")
        return
    for name in metadata.keys() - set(_METADATA) - {"creationTimestamp"}:  # which kubectl create --dry-run writes
        yield FieldProblem(f"{path}.{name}", f"{NOT_SETTABLE}: keep only labels and annotations")
    for kind in _METADATA:
        words: Any = metadata.get(kind)
        if words is None:
            continue
        if not isinstance(words, Mapping):
            yield FieldProblem(f"{path}.{kind}", "must be an object with string values")
            continue
        for key in words:
            if key in (names.LABEL_MANAGED_BY, names.LABEL_QUEUE) or str(key).startswith(f"{names.GROUP}/"):
                mend = "use spec.queueName of the task" if key == names.LABEL_QUEUE else "remove it"
                yield FieldProblem(f"{path}.{kind}[{key}]", f"{NOT_SETTABLE}: {mend}")
