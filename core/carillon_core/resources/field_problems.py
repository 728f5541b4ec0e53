"""Turns pydantic's errors into problems of the fields that users write."""

from collections.abc import Container, Sequence
from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from carillon_core.errors import MOST_PATH, MOST_PROBLEMS, FieldProblem, cut
from carillon_core.resources.tasks import PATTERN_MESSAGES

Location: TypeAlias = tuple[int | str, ...]


def field_problems(error: ValidationError, prefix: str = "") -> tuple[FieldProblem, ...]:
    """Return pydantic's errors as problems with the paths that users write, at most ``MOST_PROBLEMS``.

    Args:
        error: Pydantic's error. It has an entry for each invalid value, so there may be very many.
        prefix: The path of the validated value, such as ``spec``.

    """
    details = error.errors(include_url=False, include_input=False)
    numbers = _numbers(details)
    problems: dict[FieldProblem, None] = {}
    for detail in details:
        problems[_problem(detail, prefix, numbers)] = None
        if len(problems) == MOST_PROBLEMS:
            break
    return tuple(problems)


def _problem(detail: ErrorDetails, prefix: str, numbers: Container[Location]) -> FieldProblem:
    path = prefix
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in {"int", "float", "[key]"}:  # neither the arms of a union nor a map's key are fields
            key = cut(part, MOST_PATH)
            path += f".{key}" if path else key
    if detail["type"] == "field":  # the message of a rule about several fields names the field to correct
        path += f".{detail['ctx']['field']}"
    pattern = detail.get("ctx", {}).get("pattern", "")
    message = (
        _MESSAGES.get(detail["type"]) or PATTERN_MESSAGES.get(pattern) or detail["msg"].removeprefix("Value error, ")
    )
    if detail["type"].startswith(("datetime_", "timezone_")):
        message = "is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"
    elif _field_of(detail) in numbers:
        message = "is not a number: write one, without quotes"
    return FieldProblem(path or "(body)", message)


_MESSAGES = {
    "extra_forbidden": "is not a field of this kind: remove it or correct its spelling",
    "missing": "is required: add it",
    "dict_type": "must be an object: write 'name: value' lines under it, or {}",
    "list_type": "must be a list: write '- value' lines under it, or []",
}


def _numbers(details: Sequence[ErrorDetails]) -> set[Location]:
    """Return the fields for which both arms of the union ``int | float`` have errors."""
    arms: dict[Location, set[int | str]] = {}
    for detail in details:
        if detail["loc"] and detail["loc"][-1] in {"int", "float"}:
            arms.setdefault(_field_of(detail), set()).add(detail["loc"][-1])
    return {field for field, failed in arms.items() if len(failed) > 1}


def _field_of(detail: ErrorDetails) -> Location:
    """Return the place of a field, without the arm of a union."""
    loc = detail["loc"]
    return loc[:-1] if loc and loc[-1] in {"int", "float"} else loc
