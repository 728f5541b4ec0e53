"""Turns the jobTemplate of a CronJob into the template of a ``job`` task. Pure.

A field that the task cannot have stays in the template, so that the check of the task names it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from carillon_core.errors import FieldProblem
from carillon_core.resources import names

SPEC = "spec.jobTemplate.spec"
NOT_CONVERTED: Mapping[str, str] = {
    "selector": "remove it; Kubernetes makes the selector of each Job",
    "manualSelector": "remove it; Kubernetes makes the selector of each Job",
    "managedBy": "remove it; Carillon's Jobs are run by Kubernetes' own controller",
}
"""The fields of a Job's spec that a task cannot have, and what to do instead."""
_KEPT = ("labels", "annotations")
_SET_BY_THE_SERVER = {"creationTimestamp"}  # kubectl create --dry-run writes it, as null


@dataclass(slots=True)
class Remarks:
    """What the user is told about one CronJob."""

    notes: list[FieldProblem] = field(default_factory=list)
    """What differs from the CronJob."""
    problems: list[FieldProblem] = field(default_factory=list)
    """Why it cannot be converted."""

    def note(self, path: str, message: str) -> None:
        """Add a note about a field."""
        self.notes.append(FieldProblem(path, message))

    def refuse(self, path: str, message: str) -> None:
        """Add a problem of a field."""
        self.problems.append(FieldProblem(path, message))


@dataclass(frozen=True, slots=True)
class Template:
    """The template of a task, and what moves from it to the task's spec."""

    template: dict[str, Any]
    ttl_seconds_after_finished: Any = None
    queue_name: Any = None


def template_of(job_template: Mapping[str, Any], remarks: Remarks) -> Template:
    """Return the template of a jobTemplate; add to the remarks what is left out."""
    given = _without_null(job_template)
    queue_name = None
    if labels := _labels_of_pods(given):
        given["metadata"] = {**(given.get("metadata") or {}), "labels": labels}
    if isinstance(metadata := given.get("metadata"), Mapping):
        labels = metadata.get("labels")
        if isinstance(labels, Mapping) and names.LABEL_QUEUE in labels:
            queue_name = labels[names.LABEL_QUEUE]
            metadata = {**metadata, "labels": {k: v for k, v in labels.items() if k != names.LABEL_QUEUE}}
            said = "becomes spec.queueName; Carillon then creates its Jobs suspended, as Kueue expects"
            remarks.note(f"spec.jobTemplate.metadata.labels[{names.LABEL_QUEUE}]", said)
        given["metadata"] = _metadata(metadata, "spec.jobTemplate.metadata", remarks, others="a CronJob ignores it")
    spec = given.get("spec")
    ttl = None
    if isinstance(spec, Mapping):
        given["spec"], ttl = _job_spec(_without_null(spec), remarks)
    return Template({name: given[name] for name in sorted(given) if given[name] != {}}, ttl, queue_name)


def _labels_of_pods(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the labels that the API server gives to a Job without labels: those of its pods.

    Carillon's Jobs always have labels, so the API server would not.
    """
    found: Any = given
    for name in ("spec", "template", "metadata", "labels"):
        found = found.get(name) if isinstance(found, Mapping) else None
    own = given.get("metadata") or {}
    bare = isinstance(own, Mapping) and not own.get("labels")
    return dict(found) if bare and isinstance(found, Mapping) and found else None


def _job_spec(spec: dict[str, Any], remarks: Remarks) -> tuple[dict[str, Any], Any]:
    """Return the spec of a Job without what the task's spec has, and its ttlSecondsAfterFinished."""
    ttl = spec.pop("ttlSecondsAfterFinished", None)
    if spec.get("suspend") is False:
        del spec["suspend"]  # the default
    if "suspend" in spec:
        said = "cannot be converted: remove it; a task does not create suspended Jobs"
        remarks.refuse(f"{SPEC}.suspend", said)
    if spec.get("manualSelector") is False:
        del spec["manualSelector"]  # the default
    for name, mend in NOT_CONVERTED.items():
        if name in spec:
            remarks.refuse(f"{SPEC}.{name}", f"cannot be converted: {mend}")
    for name in ("suspend", *NOT_CONVERTED):
        spec.pop(name, None)
    inner = spec.get("template")
    if isinstance(inner, Mapping) and isinstance(inner.get("metadata"), Mapping):
        path = f"{SPEC}.template.metadata"
        metadata = _metadata(inner["metadata"], path, remarks, others="")
        rest = {name: value for name, value in inner.items() if name != "metadata"}
        spec["template"] = {**({"metadata": metadata} if metadata else {}), **rest}
    return spec, ttl


def _metadata(given: Mapping[str, Any], path: str, remarks: Remarks, *, others: str) -> dict[str, Any]:
    """Return the labels and annotations of a template, without those that Carillon sets.

    Args:
        given: The metadata.
        path: Its path.
        remarks: Where to add what is left out.
        others: Why other fields of the metadata can be left out; empty if only the names of pods can.

    """
    kept: dict[str, Any] = {}
    for name, value in _without_null(given).items():
        if name in _SET_BY_THE_SERVER:
            continue
        if name in _KEPT:
            kept[name] = _words(value, f"{path}.{name}", remarks) if isinstance(value, Mapping) else value
        elif others or name in {"name", "generateName", "namespace"}:
            remarks.note(f"{path}.{name}", f"is left out: {others or 'pods of a Job do not have it'}")
        else:
            kept[name] = value
    return {name: value for name, value in kept.items() if value != {}}


def _words(given: Mapping[str, Any], path: str, remarks: Remarks) -> dict[str, Any]:
    for name in _ours(given):
        remarks.note(f"{path}[{name}]", f"is left out: Carillon sets it to {names.MANAGED_BY}")
    return {name: value for name, value in given.items() if name not in set(_ours(given))}


def _ours(given: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in given if name == names.LABEL_MANAGED_BY)


def _without_null(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the fields that are null, which means that they are not set."""
    return {name: value for name, value in given.items() if value is not None}
