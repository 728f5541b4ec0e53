"""Compares two Jobs as the API server stores them: that of a CronJob, and that of its task. Pure."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from carillon_cli.conversion.cronjobs import Conversion
from carillon_core.resources import names

GENERATED = {"batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"}
"""The labels that the API server adds, with the name and the uid of the Job."""
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
KINDS = ("labels", "annotations")
POLICY = "terminationMessagePolicy"


def differences(cronjobs: Mapping[str, Any], ours: Mapping[str, Any]) -> set[str]:
    """Return the paths of the fields that differ, except those that differ between any two Jobs.

    The default of ``terminationMessagePolicy`` is one of them: ours is ``FallbackToLogsOnError``.
    """
    theirs, own = _comparable(cronjobs), _comparable(ours)
    for name in ("initContainers", "containers"):
        pairs = zip(*(job["spec"]["template"]["spec"].get(name, ()) for job in (theirs, own)), strict=False)
        for container, same in pairs:
            if (container[POLICY], same[POLICY]) == ("File", "FallbackToLogsOnError"):
                container[POLICY] = same[POLICY]
    return set(_differences(theirs, own, ""))


def announced(conversion: Conversion) -> set[str]:
    """Return the paths of the fields of a Job of which the conversion says that they differ."""
    prefix = "spec.jobTemplate."
    notes = [note.path.removeprefix(prefix) for note in conversion.mapped.remarks.notes if note.path.startswith(prefix)]
    spec = conversion.mapped.task["spec"]
    # a CronJob ignores these; the queue is on both Jobs
    ignored = {"metadata.name", "metadata.namespace", f"metadata.labels[{names.LABEL_QUEUE}]"}
    moved = {"spec.ttlSecondsAfterFinished"} if "ttlSecondsAfterFinished" in spec else set()
    return (set(notes) - ignored) | moved | ({"spec.suspend"} if "queueName" in spec else set())


def _comparable(job: Mapping[str, Any]) -> dict[str, Any]:
    spec = deepcopy(dict(job["spec"]))
    del spec["selector"]
    inner = spec["template"]
    inner["metadata"] = {
        name: value
        for name, value in (inner.get("metadata") or {}).items()
        if name not in {*KINDS, "creationTimestamp"}
    } | _words((job["spec"]["template"].get("metadata")) or {})
    return {"metadata": _words(job["metadata"]), "spec": spec}


def _words(metadata: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return labels and annotations without those that each Job has of its own."""
    return {
        kind: {name: value for name, value in (metadata.get(kind) or {}).items() if not _own(name, value)}
        for kind in KINDS
    }


def _own(name: str, value: str) -> bool:
    ours = name.startswith(f"{names.GROUP}/") or (name, value) == (names.LABEL_MANAGED_BY, names.MANAGED_BY)
    return ours or name in GENERATED or name == SCHEDULED_AT


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        words = path.endswith(KINDS)
        for name in one.keys() | other.keys():
            inner = f"{path}[{name}]" if words else f"{path}.{name}".lstrip(".")
            if name not in one or name not in other:
                yield inner
            else:
                yield from _differences(one[name], other[name], inner)
    elif one != other:
        yield path
