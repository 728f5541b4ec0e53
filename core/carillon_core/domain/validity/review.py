"""Reviews an object for the admission webhook before it is stored. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_core.domain.egress.rules import AllowList
from carillon_core.domain.validity.advice import task_advice, url_advice, warnings_of
from carillon_core.domain.validity.problems import request_problems, spec_problems, target_problems
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.names import KIND, KIND_TARGET
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec


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
    if old is not None and old.get("spec") == new.get("spec"):
        return Review()
    raw = new.get("spec")
    try:
        if kind == KIND:
            spec = parse_spec(raw, strict=False)
            problems = spec_problems(spec, now, _stored(old), pod_defaults)
            return _review(new, "the task", problems, () if problems else warnings_of(spec, now, http_allow))
        if kind == KIND_TARGET:
            target = parse_target_spec(raw, strict=False)
            return _review(new, "the target", target_problems(target), url_advice(target.url, "spec.url", http_allow))
        request = parse_request_spec(raw, strict=False)
        advice = task_advice(request.task, http_allow) if request.task is not None else ()
        return _review(new, "the request", request_problems(request, now, pod_defaults), advice)
    except InvalidResourceError as error:
        return Review(error.problems)


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
