"""Helpers of every mapping between REST and custom resources: metadata, specs, merge patches. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from carillon_api.http.bodies import parse_body
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import JSONObject
from carillon_core.resources import API_VERSION
from carillon_core.resources.scheduled_task import parse_meta

M = TypeVar("M", bound=BaseModel)


def view_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``ObjectView``."""
    meta = parse_meta(raw["metadata"])
    return {
        "name": meta.name,
        "namespace": meta.namespace,
        "uid": meta.uid,
        "resource_version": meta.resource_version,
        "generation": meta.generation,
        "created_at": meta.creation_timestamp,
        "labels": meta.labels,
    }


def as_object(value: Any) -> JSONObject:
    """Return a value if it is an object, otherwise an empty object: objects may have been stored without a schema."""
    return value if isinstance(value, dict) else {}


def custom_resource(
    kind: str, namespace: str, name: str, labels: Mapping[str, str], spec: BaseModel | JSONObject
) -> JSONObject:
    """Return a custom resource to create."""
    metadata: JSONObject = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = dict(labels)
    written = spec_object(spec) if isinstance(spec, BaseModel) else spec
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": written}


def with_spec(current: JSONObject, labels: Mapping[str, str] | None, spec: BaseModel) -> JSONObject:
    """Return an object with a new spec, and with new labels unless these are None; the rest is unchanged."""
    metadata = dict(current["metadata"])
    if labels is not None:
        metadata["labels"] = dict(labels)
    return {**current, "metadata": metadata, "spec": spec_object(spec)}


def as_replacement(model: type[M], current: JSONObject, patch: BaseModel) -> M:
    """Return the PUT body that is equivalent to a merge patch of labels and spec.

    Raises:
        InvalidResourceError: If the result does not match its model.

    """
    stored: JSONObject = {"spec": as_object(current.get("spec")), "labels": current["metadata"].get("labels") or {}}
    merged = merge_patch(stored, patch.model_dump(exclude_unset=True))
    merged.setdefault("labels", {})  # null has removed all labels, but a PUT without labels would keep them
    return parse_body(model, json.dumps(merged).encode())


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


def spec_object(spec: BaseModel) -> JSONObject:
    """Return a spec as it is stored: only the fields that the caller set; the CRD fills in the defaults."""
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def refuse(problems: Sequence[FieldProblem]) -> None:
    """Return if there are no problems.

    Raises:
        InvalidResourceError: With all problems, if there are any.

    """
    if problems:
        raise InvalidResourceError(problems)
