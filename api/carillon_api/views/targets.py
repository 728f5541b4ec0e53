"""The mapping between REST and HTTPTargets, and which objects use a target. Pure."""

from collections.abc import Mapping
from typing import Any

from carillon_api.schemas import TargetCreate, TargetPatch, TargetReplace, TargetView
from carillon_api.schemas.checks import label_problems, object_name_problems
from carillon_api.views.objects import as_object, as_replacement, custom_resource, refuse, view_fields, with_spec
from carillon_core.domain.validity.problems import target_problems
from carillon_core.ports import JSONObject
from carillon_core.resources.names import KIND_TARGET


def target_view(raw: Mapping[str, Any]) -> TargetView:
    """Return the view of a target from the API server; this does not fail on an invalid spec."""
    return TargetView(**view_fields(raw), spec=as_object(raw.get("spec")))


def new_target(body: TargetCreate, namespace: str) -> JSONObject:
    """Return the HTTPTarget for a caller's body.

    Raises:
        InvalidResourceError: With every problem found.

    """
    refuse([*object_name_problems(body.name), *label_problems(body.labels), *target_problems(body.spec)])
    return custom_resource(KIND_TARGET, namespace, body.name, body.labels, body.spec)


def replaced_target(current: JSONObject, body: TargetReplace) -> JSONObject:
    """Return a target with a new spec, and with new labels if the body has labels; the rest is unchanged.

    Raises:
        InvalidResourceError: With every problem found.

    """
    refuse([*label_problems(body.labels or {}), *target_problems(body.spec)])
    return with_spec(current, body.labels, body.spec)


def patched_target(current: JSONObject, patch: TargetPatch) -> JSONObject:
    """Return a target with a merge patch applied; the result is validated like a new target.

    Raises:
        InvalidResourceError: With every problem found.

    """
    return replaced_target(current, as_replacement(TargetReplace, current, patch))


def uses_target(raw: Mapping[str, Any], name: str) -> bool:
    """Return whether a task, or an unfinished run with its own task, references a target.

    A run of a ScheduledTask uses a target through that task, which is found separately.
    """
    http = as_object(as_object(as_object(raw.get("spec")).get("task")).get("http"))
    unfinished = as_object(raw.get("status")).get("finishedAt") is None
    return unfinished and as_object(http.get("targetRef")).get("name") == name
