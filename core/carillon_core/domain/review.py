"""What the admission webhook answers about an object before it is stored. Pure: the edge only transports it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_core.domain.advice import warnings_of
from carillon_core.domain.validity import request_problems, spec_problems, target_problems
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.names import KIND, KIND_TARGET
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec


@dataclass(frozen=True, slots=True)
class Review:
    """Problems refuse the object; warnings are shown to whoever writes it."""

    problems: tuple[FieldProblem, ...] = ()
    warnings: tuple[str, ...] = ()


def review_of(kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None, now: datetime) -> Review:
    """Return what is to be said about an object that is being created or changed.

    A change that leaves the spec as it is is nobody's business here: an object
    older than a rule can still be labelled, and its finalizers removed.

    Args:
        kind: ScheduledTask, HTTPTarget or RunRequest.
        new: The object to be stored; the API server has dropped unknown fields and filled in defaults.
        old: What it replaces, if anything.
        now: This instant.

    """
    if old is not None and old.get("spec") == new.get("spec"):
        return Review()
    raw = new.get("spec")
    try:
        if kind == KIND:
            return _of_task(new, parse_spec(raw, strict=False), _stored(old), now)
        if kind == KIND_TARGET:
            return Review(target_problems(parse_target_spec(raw, strict=False)))
        return Review(request_problems(parse_request_spec(raw, strict=False)))
    except InvalidResourceError as error:
        return Review(error.problems)


def _of_task(
    raw: Mapping[str, Any], spec: ScheduledTaskSpec, stored: ScheduledTaskSpec | None, now: datetime
) -> Review:
    problems = spec_problems(spec, now, stored)
    if problems:
        return Review(problems)
    meta = raw.get("metadata") or {}
    name = meta.get("name") or meta.get("generateName") or "the task"
    return Review(warnings=tuple(f"{name}: {warning}" for warning in warnings_of(spec, now)))


def _stored(old: Mapping[str, Any] | None) -> ScheduledTaskSpec | None:
    try:
        return parse_spec(old.get("spec"), strict=False) if old is not None else None
    except InvalidResourceError:
        return None
