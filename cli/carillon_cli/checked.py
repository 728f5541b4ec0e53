"""Parse an object of a file, or list what is wrong with it. Pure."""

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import ValidationError

from carillon_cli.documents import Document
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.validity.problems import request_problems, spec_problems, target_problems
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources import ObjectMeta
from carillon_core.resources.base import rfc3339
from carillon_core.resources.field_problems import field_problems
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.names import KIND, KIND_REQUEST
from carillon_core.resources.run_request import RunRequestSpec, parse_request_spec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, name_problems, parse_spec


def task_of(document: Document, now: datetime) -> ObservedTask:
    """Return a ScheduledTask as the operator would observe it; an object without a creation time is created now.

    Raises:
        InvalidResourceError: With every problem found.

    """
    meta, problems = _metadata(document, now, named_jobs=True)
    spec = None
    try:
        spec = parse_spec(document.raw.get("spec"), strict=True)
    except InvalidResourceError as error:
        problems += error.problems
        spec = _tolerantly(document)  # an unknown field hides nothing else
    if spec is not None:
        # a stored task keeps its calendar, which may have ended
        problems += spec_problems(spec, now, spec if is_stored(document) else None)
    if problems or meta is None:
        raise InvalidResourceError(problems)
    return ObservedTask.from_object(document.raw | {"metadata": meta})


def _tolerantly(document: Document) -> ScheduledTaskSpec | None:
    try:
        return parse_spec(document.raw.get("spec"), strict=False)
    except InvalidResourceError:
        return None


def request_of(document: Document, now: datetime) -> RunRequestSpec:
    """Return a RunRequest's spec.

    Raises:
        InvalidResourceError: With every problem found.

    """
    meta, problems = _metadata(document, now, named_jobs=True)
    raw = document.raw.get("spec")
    try:
        spec = parse_request_spec(raw, strict=True)
    except InvalidResourceError as error:
        problems += error.problems
        with suppress(InvalidResourceError):  # an unknown field hides nothing else
            problems += request_problems(parse_request_spec(raw, strict=False), _created_at(meta) or now)
        raise InvalidResourceError(problems) from error
    problems += request_problems(spec, _created_at(meta) or now)
    if problems:
        raise InvalidResourceError(problems)
    return spec


def _created_at(meta: dict[str, Any] | None) -> datetime | None:
    return None if meta is None else ObjectMeta.model_validate(meta, extra="ignore").creation_timestamp


def check_target(document: Document, now: datetime) -> None:
    """Check an HTTPTarget.

    Raises:
        InvalidResourceError: With every problem found.

    """
    _, problems = _metadata(document, now, named_jobs=False)
    raw = document.raw.get("spec")
    try:
        problems += target_problems(parse_target_spec(raw, strict=True))
    except InvalidResourceError as error:
        problems += error.problems
        with suppress(InvalidResourceError):  # the same
            problems += target_problems(parse_target_spec(raw, strict=False))
    if problems:
        raise InvalidResourceError(problems)


def check(document: Document, now: datetime) -> None:
    """Check an object of any of our kinds.

    Raises:
        InvalidResourceError: With every problem found.

    """
    if document.kind == KIND:
        task_of(document, now)
    elif document.kind == KIND_REQUEST:
        request_of(document, now)
    else:
        check_target(document, now)


def is_stored(document: Document) -> bool:
    """Return whether the object comes from a cluster, which sets the creation time."""
    return bool(document.raw["metadata"].get("creationTimestamp"))


def _metadata(
    document: Document, now: datetime, *, named_jobs: bool
) -> tuple[dict[str, Any] | None, tuple[FieldProblem, ...]]:
    """Return the metadata with what the API server would add, and what is wrong with it."""
    given = {name: value for name, value in document.raw["metadata"].items() if value is not None}
    name = given.get("name") or given.get("generateName")
    if not name:
        return None, (FieldProblem("metadata.name", "is required: add it"),)
    namespace = given.get("namespace") or "default"
    meta = {
        "generation": 1,
        "creationTimestamp": rfc3339(now),
        "uid": str(uuid5(NAMESPACE_URL, f"{namespace}/{name}")),
        **given,
        "namespace": namespace,
        "name": name,
    }
    try:
        ObjectMeta.model_validate(meta, extra="ignore")
    except ValidationError as error:
        return None, field_problems(error, ObjectMeta, "metadata")
    return meta, name_problems(name) if named_jobs else ()
