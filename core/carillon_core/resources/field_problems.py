"""Turns pydantic's errors into problems of the fields that users write, in plain words and with the fix."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from carillon_core.errors import MOST_PATH, MOST_PROBLEMS, FieldProblem, InvalidResourceError, cut
from carillon_core.nearest import nearest
from carillon_core.resources.tasks import PATTERN_MESSAGES

M = TypeVar("M", bound=BaseModel)
Location: TypeAlias = tuple[int | str, ...]
LIKE = 0.65
"""How alike a field must be to a misspelt one."""
_MOST_SHOWN = 10**18
"""The largest number that a message repeats."""


def validated(model: type[M], raw: Any, *, strict: bool, prefix: str) -> M:
    """Return a decoded value of JSON or YAML as a model.

    Args:
        model: The model.
        raw: The value.
        strict: Check it as the API server does: no unknown fields, and no text for a number. Otherwise unknown fields
            are ignored.
        prefix: The path under which problems are reported.

    Raises:
        InvalidResourceError: With every problem found.

    """
    try:
        if not strict:
            return model.model_validate(raw, extra="ignore")
        return model.model_validate_json(to_json(raw), strict=True, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidResourceError(field_problems(error, model, prefix)) from error
    except PydanticSerializationError as error:
        raise InvalidResourceError([FieldProblem(prefix, f"{NOT_JSON}: write it as a string")]) from error


def field_problems(error: ValidationError, model: type[BaseModel], prefix: str = "") -> tuple[FieldProblem, ...]:
    """Return pydantic's errors as problems with the paths that users write, at most ``MOST_PROBLEMS``.

    Args:
        error: Pydantic's error. It has an entry for each invalid value, so there may be very many.
        model: The model that the value was validated as; a misspelt field is compared with its fields.
        prefix: The path of the validated value, such as ``spec``.

    """
    details = error.errors(include_url=False)
    numbers = _numbers(details)
    problems: dict[FieldProblem, None] = {}
    for detail in details:
        problems[_problem(detail, model, prefix, numbers)] = None
        if len(problems) == MOST_PROBLEMS:
            break
    return tuple(problems)


def unknown_fields(error: ValidationError, model: type[BaseModel], prefix: str) -> tuple[FieldProblem, ...]:
    """Return the problems of fields that a model does not have, at most ``MOST_PROBLEMS``; see ``field_problems``."""
    unknown = [detail for detail in error.errors(include_url=False) if detail["type"] == "extra_forbidden"]
    return tuple(_problem(detail, model, prefix, ()) for detail in unknown[:MOST_PROBLEMS])


def _problem(detail: ErrorDetails, model: type[BaseModel], prefix: str, numbers: Container[Location]) -> FieldProblem:
    path = prefix
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in {"int", "float", "[key]"}:  # neither the arms of a union nor a map's key are fields
            key = cut(part, MOST_PATH)
            path += f".{key}" if path else key
    if detail["type"] == "field":  # the message of a rule about several fields names the field to correct
        path += f".{detail['ctx']['field']}"
    message = message_of(detail)
    if detail["type"] == "extra_forbidden":
        meant = nearest(str(detail["loc"][-1]), _fields_beside(model, detail["loc"]), LIKE)
        if meant is not None:
            message = f"is an unknown field: did you mean {meant}?"
    elif _field_of(detail) in numbers:
        message = MESSAGES["float_type"]
    return FieldProblem(path or "(body)", message)


NOT_JSON = "has a value that JSON cannot express"
NOT_A_TIME = "is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"
NOT_A_UUID = "is not a UUID: write one such as 6f9619ff-8b86-4011-b42d-00c04fc964ff"
NOT_AN_OBJECT = "must be an object: write 'name: value' lines under it, or {}"
MESSAGES: Mapping[str, str] = {
    "extra_forbidden": "is an unknown field: remove it or correct its spelling",
    "missing": "is required: add it",
    "dict_type": NOT_AN_OBJECT,
    "model_type": NOT_AN_OBJECT,
    "model_attributes_type": NOT_AN_OBJECT,
    "list_type": "must be a list: write '- value' lines under it, or []",
    "invalid_key": "has a key that is not a string: write it in quotes",
    "recursion_loop": "contains itself: write it without a reference to itself",
    "string_type": "must be a string: write it in quotes",
    "string_unicode": "contains an unpaired surrogate: write the whole character",
    "int_type": "must be a whole number: write it without quotes",
    "int_parsing": "must be a whole number: write it in digits",
    "int_parsing_size": "is too large: write a smaller number",
    "int_from_float": "must be a whole number: write it without a fraction",
    "float_type": "is not a number: write one, without quotes",
    "float_parsing": "is not a number: write one, without quotes",
    "finite_number": "must be a finite number: write it in digits",
    "bool_type": "must be true or false: write it without quotes",
    "bool_parsing": "must be true or false",
    "uuid_type": NOT_A_UUID,
    "uuid_parsing": NOT_A_UUID,
    "uuid_version": NOT_A_UUID,
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), NOT_A_TIME),
    **dict.fromkeys(("datetime_object_invalid", "timezone_naive", "timezone_aware", "timezone_offset"), NOT_A_TIME),
}
"""The message for each type of pydantic's errors, where it depends on nothing else."""
WRITTEN: Mapping[str, Callable[[ErrorDetails, Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda error, told: f"must be at least {told['ge']}{_got(error['input'])}",
    "greater_than": lambda error, told: f"must be more than {told['gt']}{_got(error['input'])}",
    "less_than_equal": lambda error, told: f"must be at most {told['le']}{_got(error['input'])}",
    "less_than": lambda error, told: f"must be less than {told['lt']}{_got(error['input'])}",
    "string_too_short": lambda error, told: _too_short(error["input"], told["min_length"], "character"),
    "string_too_long": lambda error, told: (
        f"must have at most {_counted(told['max_length'], 'character')}{_got_length(error['input'])}: shorten it"
    ),
    "too_short": lambda error, told: _too_short(error["input"], told["min_length"], "item"),
    "too_long": lambda error, told: (
        f"must have at most {_counted(told['max_length'], 'item')}{_got_length(error['input'])}: remove some"
    ),
    "enum": lambda _, told: f"must be {told['expected']}",
    "literal_error": lambda _, told: f"must be {told['expected']}",
    "string_pattern_mismatch": lambda _, told: PATTERN_MESSAGES.get(told["pattern"], f"must match {told['pattern']}"),
    "value_error": lambda error, _: error["msg"].removeprefix("Value error, "),
    "union_tag_invalid": lambda _, told: f"must have {told['discriminator']}: one of {told['expected_tags']}",
    "union_tag_not_found": lambda _, told: f"must have {told['discriminator']}: add it",
    "json_invalid": lambda _, told: f"is not valid JSON: {told['error']}",
    "field": lambda error, _: error["msg"],
}
"""How the message is written for the other types, from the error and from what pydantic tells with it."""


def message_of(detail: ErrorDetails | Mapping[str, Any]) -> str:
    """Return the message of one of pydantic's errors in plain words.

    Args:
        detail: The error, with its input.

    """
    kind = detail["type"]
    if kind in MESSAGES:
        return MESSAGES[kind]
    write = WRITTEN.get(kind)
    return detail["msg"] if write is None else write(detail, detail.get("ctx") or {})  # type: ignore[arg-type]  # a TypedDict is one


def _got(given: object) -> str:
    return f" (got {given})" if isinstance(given, int | float) and abs(given) < _MOST_SHOWN else ""


def _got_length(given: object) -> str:
    return f" (got {len(given)})" if isinstance(given, str | list | dict) else ""


def _too_short(given: object, least: int, what: str) -> str:
    if least == 1:
        return f"must not be empty: write at least {_counted(1, what)}"
    return f"must have at least {_counted(least, what)}{_got_length(given)}: add some"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _fields_beside(model: type[BaseModel], loc: Location) -> set[str]:
    """Return the fields that the object at a place may have, by the names that users write."""
    kinds: list[Any] = [model]
    for part in loc[:-1]:
        kinds = [found for kind in kinds for found in _within(kind, part)]
    models = [each for kind in kinds for each in _arms(kind) if isinstance(each, type) and issubclass(each, BaseModel)]
    return {field.alias or name for each in models for name, field in each.model_fields.items()}


def _within(kind: Any, part: int | str) -> Iterator[Any]:
    """Yield the types that a field, an item or a value of an annotated type may have."""
    for arm in _arms(kind):
        if get_origin(arm) in {list, dict}:
            yield get_args(arm)[-1]
        elif isinstance(arm, type) and issubclass(arm, BaseModel):
            yield from (f.annotation for name, f in arm.model_fields.items() if part in {name, f.alias})


def _arms(kind: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without unions and annotations around them."""
    if get_origin(kind) is Annotated:
        yield from _arms(get_args(kind)[0])
    elif get_origin(kind) in {Union, UnionType}:
        for arm in get_args(kind):
            yield from _arms(arm)
    elif isinstance(kind, type) and issubclass(kind, RootModel):
        yield from _arms(kind.model_fields["root"].annotation)
    else:
        yield kind


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
