"""The mapping between REST and ScheduledTasks. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from carillon_api.schemas import TaskCreate, TaskFilters, TaskPatch, TaskReplace, TaskView
from carillon_api.schemas.checks import label_problems, spec_problems, task_name_problems
from carillon_api.views.objects import as_object, as_replacement, custom_resource, refuse, view_fields, with_spec
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Window, next_runs
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.ports import JSONObject
from carillon_core.resources import KIND


def task_view(raw: Mapping[str, Any], window: Window, timetables: Timetables) -> TaskView:
    """Return the view of a task from the API server; this does not fail on an invalid spec.

    Args:
        raw: The object.
        window: Which of its next times are shown.
        timetables: The parsed schedules.

    """
    return TaskView(
        **view_fields(raw),
        spec=as_object(raw.get("spec")),
        status=as_object(raw.get("status")),
        schedule_in_words=timetables.of(raw).words,
        next_runs=next_runs(raw, window, timetables),
    )


def is_wanted(raw: Mapping[str, Any], query: TaskFilters) -> bool:
    """Return whether a task matches the filters of a list that the API server does not know."""
    spec, status = as_object(raw.get("spec")), as_object(raw.get("status"))
    return (
        (query.name_contains is None or query.name_contains in raw["metadata"]["name"])
        and (query.type is None or as_object(spec.get("task")).get(query.type) is not None)
        and (query.suspended is None or spec.get("suspend", False) is query.suspended)
        and (query.last_result is None or status.get("lastResult") == query.last_result)
    )


def new_object(body: TaskCreate, namespace: str, now: datetime) -> JSONObject:
    """Return the ScheduledTask for a caller's body.

    Raises:
        InvalidResourceError: With every problem found.

    """
    refuse([*task_name_problems(body.name), *label_problems(body.labels), *spec_problems(body.spec, now, None)])
    return custom_resource(KIND, namespace, body.name, body.labels, body.spec)


def replaced_object(current: JSONObject, body: TaskReplace, now: datetime) -> JSONObject:
    """Return a task with a new spec, and with new labels if the body has labels; the rest is unchanged.

    Raises:
        InvalidResourceError: With every problem found.

    """
    stored = ObservedTask.from_object(current).spec
    refuse([*label_problems(body.labels or {}), *spec_problems(body.spec, now, stored)])
    return with_spec(current, body.labels, body.spec)


def patched_object(current: JSONObject, patch: TaskPatch, now: datetime) -> JSONObject:
    """Return a task with a merge patch applied; the result is validated like a new task.

    Raises:
        InvalidResourceError: With every problem found.

    """
    return replaced_object(current, as_replacement(TaskReplace, current, patch), now)
