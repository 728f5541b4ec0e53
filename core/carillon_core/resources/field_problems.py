"""Turns pydantic's errors into problems of the fields that users write."""

from pydantic import ValidationError

from carillon_core.errors import FieldProblem
from carillon_core.resources.tasks import PATTERN_MESSAGES


def field_problems(error: ValidationError, prefix: str = "") -> tuple[FieldProblem, ...]:
    """Return pydantic's errors as problems with the paths that users write.

    Args:
        error: Pydantic's error.
        prefix: The path of the validated value, such as ``spec``.

    """
    problems: list[FieldProblem] = []
    for detail in error.errors(include_url=False):
        path = prefix
        for part in detail["loc"]:
            if isinstance(part, int):
                path += f"[{part}]"
            elif part not in {"int", "float", "[key]"}:  # neither the arms of a union nor a map's key are fields
                path += f".{part}" if path else part
        if detail["type"] == "field":  # the message of a rule about several fields names the field to correct
            path += f".{detail['ctx']['field']}"
        pattern = detail.get("ctx", {}).get("pattern", "")
        message = (
            _MESSAGES.get(detail["type"])
            or PATTERN_MESSAGES.get(pattern)
            or detail["msg"].removeprefix("Value error, ")
        )
        if detail["type"].startswith(("datetime_", "timezone_")):
            message = "is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"
        elif {"int", "float"} <= _arms(error, path, prefix):
            message = "is not a number: write one, without quotes"
        problem = FieldProblem(path or "(body)", message)
        if problem not in problems:
            problems.append(problem)
    return tuple(problems)


_MESSAGES = {
    "extra_forbidden": "is not a field of this kind: remove it or correct its spelling",
    "missing": "is required: add it",
    "dict_type": "must be an object: write 'name: value' lines under it, or {}",
    "list_type": "must be a list: write '- value' lines under it, or []",
}


def _arms(error: ValidationError, path: str, prefix: str) -> set[str]:
    """Return the arms of a union that have errors at a path."""
    start = f"{prefix}." if prefix else ""
    return {
        str(detail["loc"][-1])
        for detail in error.errors(include_url=False)
        if detail["loc"] and start + ".".join(str(part) for part in detail["loc"][:-1]) == path
    }
