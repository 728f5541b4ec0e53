"""The mapping between REST and the custom resource. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from carillon_api.bodies import parse_body
from carillon_api.checks import label_problems, spec_problems, task_name_problems
from carillon_api.schemas import TaskCreate, TaskPatch, TaskReplace, TaskView
from carillon_core.domain.observed import ObservedTask
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import JSONObject
from carillon_core.resources import API_VERSION, KIND, ScheduledTaskSpec
from carillon_core.resources.scheduled_task import parse_meta


def task_view(raw: Mapping[str, Any]) -> TaskView:
    """Return an object from the API server as REST shows it; whatever its spec is, this does not fail."""
    meta = parse_meta(raw["metadata"])
    return TaskView(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
        generation=meta.generation,
        created_at=meta.creation_timestamp,
        labels=meta.labels,
        spec=_object(raw.get("spec")),
        status=_object(raw.get("status")),
    )


def _object(value: Any) -> JSONObject:
    """Return what stands where an object belongs; an empty one for whatever an age without a schema has left there."""
    return value if isinstance(value, dict) else {}


def new_object(body: TaskCreate, namespace: str, now: datetime) -> JSONObject:
    """Return the custom resource that a caller asked for.

    Raises:
        InvalidResourceError: With every problem found.

    """
    problems = [*task_name_problems(body.name), *label_problems(body.labels), *spec_problems(body.spec, now, None)]
    _refuse(problems)
    metadata: JSONObject = {"name": body.name, "namespace": namespace}
    if body.labels:
        metadata["labels"] = dict(body.labels)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec_object(body.spec)}


def replaced_object(current: JSONObject, body: TaskReplace, now: datetime) -> JSONObject:
    """Return a task with another spec, and with other labels if they are given; the rest of it stays.

    Raises:
        InvalidResourceError: With every problem found.

    """
    stored = ObservedTask.from_object(current).spec
    _refuse([*label_problems(body.labels or {}), *spec_problems(body.spec, now, stored)])
    metadata = dict(current["metadata"])
    if body.labels is not None:
        metadata["labels"] = dict(body.labels)
    return {**current, "metadata": metadata, "spec": spec_object(body.spec)}


def patched_object(current: JSONObject, patch: TaskPatch, now: datetime) -> JSONObject:
    """Return a task as a merge patch makes it; the result is held to the same rules as a new task.

    Raises:
        InvalidResourceError: With every problem found.

    """
    result: JSONObject = {"spec": _object(current.get("spec")), "labels": current["metadata"].get("labels") or {}}
    given = patch.model_dump(exclude_unset=True)
    return replaced_object(current, _as_replacement(merge_patch(result, given)), now)


def _as_replacement(merged: JSONObject) -> TaskReplace:
    merged.setdefault("labels", {})  # null removed them all, where leaving them out of a PUT would keep them
    return parse_body(TaskReplace, json.dumps(merged).encode())


def merge_patch(target: Any, patch: Any) -> Any:
    """Return ``target`` changed by a JSON merge patch (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def spec_object(spec: ScheduledTaskSpec) -> JSONObject:
    """Return a spec as it is stored: what the caller set, no more; the defaults are the CRD's."""
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def _refuse(problems: list[FieldProblem]) -> None:
    if problems:
        raise InvalidResourceError(problems)
