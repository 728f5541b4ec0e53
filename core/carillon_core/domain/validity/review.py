"""Reviews an object for the admission webhook before it is stored. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from carillon_core.domain.egress.rules import AllowList
from carillon_core.domain.validity.advice import task_advice, url_advice, warnings_of
from carillon_core.domain.validity.problems import request_problems, spec_problems, target_problems
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.field_problems import unknown_fields
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec
from carillon_core.resources.names import ANNOTATION_APPLIED, KIND, KIND_REQUEST, KIND_TARGET
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec, parse_request_spec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec

MOST_DROPPED = 10
"""How many unknown fields are warned about: the API server limits the size of all warnings together."""
_MODELS: Mapping[str, type[BaseModel]] = {
    KIND: ScheduledTaskSpec,
    KIND_TARGET: HTTPTargetSpec,
    KIND_REQUEST: RunRequestSpec,
}


@dataclass(frozen=True, slots=True)
class Review:
    """The result: with problems the object is rejected; warnings are shown to the user who writes it."""

    problems: tuple[FieldProblem, ...] = ()
    warnings: tuple[str, ...] = ()


def review_of(
    kind: str,
    new: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    now: datetime,
    http_allow: AllowList | None = None,
    pod_defaults: PodSettings | None = None,
) -> Review:
    """Return the problems and warnings of an object that is being created or changed.

    A change that does not touch the spec is not reviewed, so that an object
    older than a rule can still be labelled and its finalizers removed.

    Args:
        kind: ScheduledTask, HTTPTarget or RunRequest.
        new: The object to store; the API server has dropped unknown fields and filled in defaults.
        old: The object that it replaces, if any.
        now: The current time.
        http_allow: The addresses, besides public ones, that HTTP tasks may reach; None if not known here.
        pod_defaults: The operator's pod settings; None if they are not known here.

    """
    dropped = tuple(_dropped_fields(kind, new, old))
    if old is not None and old.get("spec") == new.get("spec"):
        return Review(warnings=dropped)
    raw = new.get("spec")
    try:
        if kind == KIND:
            spec = parse_spec(raw, strict=False)
            problems = spec_problems(spec, now, _stored(old), pod_defaults)
            review = _review(new, "the task", problems, () if problems else warnings_of(spec, now, http_allow))
        elif kind == KIND_TARGET:
            target = parse_target_spec(raw, strict=False)
            advice = url_advice(target.url, "spec.url", http_allow)
            review = _review(new, "the target", target_problems(target), advice)
        else:
            request = parse_request_spec(raw, strict=False)
            advice = task_advice(request.task, http_allow) if request.task is not None else iter(())
            review = _review(new, "the request", request_problems(request, now, pod_defaults), advice)
    except InvalidResourceError as error:
        review = Review(error.problems)
    return replace(review, warnings=(*dropped, *review.warnings))


def _dropped_fields(kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a warning for each unknown field that was applied with kubectl.

    The API server drops unknown fields before it asks a webhook, unless the user's kubectl asks it to refuse them. But
    ``kubectl apply`` writes what it was given into an annotation.
    """
    applied = _annotation(new)
    if applied is None or applied == _annotation(old or {}):
        return
    try:
        raw = json.loads(applied)
        _MODELS[kind].model_validate(raw["spec"], extra="forbid")
    except ValidationError as error:
        for problem in unknown_fields(error, _MODELS[kind], "spec")[:MOST_DROPPED]:
            yield f"{problem.path}: was dropped by the API server because it {problem.message}"
    except (LookupError, TypeError, ValueError, RecursionError):  # written by something else than kubectl
        return


def _annotation(raw: Mapping[str, Any]) -> str | None:
    found = ((raw.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION_APPLIED)
    return found if isinstance(found, str) else None


def _review(
    raw: Mapping[str, Any], nameless: str, problems: tuple[FieldProblem, ...], warnings: Iterable[str]
) -> Review:
    if problems:
        return Review(problems)
    meta = raw.get("metadata") or {}
    name = meta.get("name") or meta.get("generateName") or nameless
    return Review(warnings=tuple(f"{name}: {warning}" for warning in warnings))


def _stored(old: Mapping[str, Any] | None) -> ScheduledTaskSpec | None:
    try:
        return parse_spec(old.get("spec"), strict=False) if old is not None else None
    except InvalidResourceError:
        return None
