"""Applies a request's parameters to the task that it runs, or returns their problems. Pure.

``decide_request`` calls it before a launch, the REST facade before it creates a request.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.errors import FieldProblem
from carillon_core.resources.field_problems import field_problems
from carillon_core.resources.run_request import RunRequestSpec
from carillon_core.resources.tasks import Task

OVERRIDABLE: Mapping[str, frozenset[str]] = {
    "sum": frozenset({"a", "b"}),
    "sleep": frozenset({"durationSeconds"}),
    "counter": frozenset(),
    "job": frozenset(),
}
"""The fields of a task type that a request's parameters may set; http, container and plugin take any parameter."""


def requested_task(spec: RunRequestSpec, task: ObservedTask | None) -> Task | tuple[FieldProblem, ...]:
    """Return the task that a request runs, with its parameters applied, or the problems of the parameters."""
    base = spec.task or (task.spec.task if task and task.spec else None)
    if base is None:
        return (FieldProblem("spec.taskRef", "must name an existing, valid ScheduledTask"),)
    allowed = OVERRIDABLE.get(base.type)
    if allowed is not None:
        fix = f"use only {' and '.join(sorted(allowed))}" if allowed else "remove it"
        problems = tuple(
            FieldProblem(f"spec.parameters.{name}", f"is not a parameter of the task type {base.type}: {fix}")
            for name in spec.parameters
            if name not in allowed
        )
        if problems:
            return problems
    if not spec.parameters or base.type == "http":
        return base  # the templates of an http task read them
    raw: dict[str, Any] = base.model_dump(mode="json", exclude_none=True)
    part = raw[base.type]
    if base.type == "container":
        if problems := _unfit_for_environment(spec.parameters):
            return problems
        given = [{"name": name, "value": _text(value)} for name, value in spec.parameters.items()]
        part["env"] = [e for e in part.get("env", []) if e["name"] not in spec.parameters] + given
    elif base.type == "plugin":
        part["parameters"] = {**part.get("parameters", {}), **spec.parameters}
    else:
        part |= spec.parameters
    try:
        return Task.model_validate(raw)
    except ValidationError as error:
        found = field_problems(error, Task, "spec.parameters")
        return tuple(FieldProblem(p.path.replace(f".{base.type}", "", 1), p.message) for p in found)


def _unfit_for_environment(parameters: Mapping[str, Any]) -> tuple[FieldProblem, ...]:
    return tuple(
        FieldProblem(
            f"spec.parameters.{name}", "must be a string, a number or a boolean: it becomes an environment variable"
        )
        for name, value in parameters.items()
        if not isinstance(value, str | int | float | bool)
    )


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
