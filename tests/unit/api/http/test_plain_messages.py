"""Pydantic's errors in plain words: no sentence of the library reaches a user."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from carillon_api import schemas
from carillon_api.http.bodies import parse_body
from carillon_core.errors import MOST_PROBLEMS, InvalidResourceError
from carillon_core.nearest import nearest
from carillon_core.resources.field_problems import MESSAGES, WRITTEN, message_of
from carillon_core.resources.http_target import HTTPTarget, HTTPTargetSpec
from carillon_core.resources.run_request import RunRequest, RunRequestSpec
from carillon_core.resources.scheduled_task import ScheduledTask, ScheduledTaskSpec, parse_spec

MODELS = sorted(
    {
        *(each for name in schemas.__all__ if isinstance(each := getattr(schemas, name), type)),
        *(ScheduledTask, HTTPTarget, RunRequest),
    },
    key=lambda model: model.__name__,
)
"""Every model of a request, an answer or an object in the cluster."""
TIMES = ["datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid", "timezone_naive"]
ERRORS: Mapping[str, list[str]] = {
    "any": [],
    "bool": ["bool_type", "bool_parsing"],
    "datetime": TIMES,
    "default": [],
    "definition-ref": [],
    "definitions": [],
    "dict": ["dict_type"],
    "enum": ["enum"],
    "float": ["float_type", "float_parsing", "finite_number"],
    "function-after": ["value_error"],
    "function-before": ["value_error"],
    "int": ["int_type", "int_parsing", "int_parsing_size", "int_from_float"],
    "list": ["list_type"],
    "literal": ["literal_error"],
    "model": ["model_type"],
    "model-field": [],
    "model-fields": ["model_type", "missing", "extra_forbidden", "invalid_key", "recursion_loop"],
    "nullable": [],
    "str": ["string_type", "string_unicode"],
    "tagged-union": ["union_tag_invalid", "union_tag_not_found", "model_attributes_type"],
    "union": [],
    "uuid": ["uuid_type", "uuid_parsing", "uuid_version"],
}
"""The errors of each kind of schema, as pydantic's documentation lists them; another kind must be added here."""
LIMITS: Mapping[str, str] = {
    "ge": "greater_than_equal",
    "gt": "greater_than",
    "le": "less_than_equal",
    "lt": "less_than",
    "pattern": "string_pattern_mismatch",
}
_NOT_VALIDATED = {"serialization", "metadata", "config", "expected", "function"}
LIBRARY = re.compile(r"Input|should|valid (string|integer|dictionary|list)|Value error|Field required|Extra inputs")
"""Words of pydantic's own sentences."""


def possible(schema: Any) -> Iterator[str]:
    """Yield the types of the errors that a schema can cause."""
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from possible(each)
        return
    if not isinstance(schema, dict):
        return
    if isinstance(kind := schema.get("type"), str):
        yield from ERRORS[kind]
        yield from (error for limit, error in LIMITS.items() if schema.get(limit) is not None)
        for limit, error in (("min_length", "too_short"), ("max_length", "too_long")):
            if schema.get(limit) is not None:
                yield f"string_{error}" if kind == "str" else error
    inner = (value for key, value in schema.items() if key not in _NOT_VALIDATED)
    for value in inner:
        if isinstance(value, dict) and "type" not in value:  # fields or choices by their names
            yield from possible(list(value.values()))
        else:
            yield from possible(value)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_error_that_can_occur_has_a_message(model: type[BaseModel]) -> None:
    """A new kind of field needs a message, or the user reads the library's."""
    found = set(possible(model.__pydantic_core_schema__))
    assert found
    assert found - {*MESSAGES, *WRITTEN} == set()


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1.5,
    "",
    "x",
    "\x7f",
    "x" * 100_000,
    [],
    [None] * 500,
    {},
    {"x": None},
    {"é": "\n"},
)


def with_each_value(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Yield objects in which one field of a model has a wrong value."""
    for name, field in model.model_fields.items():
        for value in WRONG:
            yield {field.alias or name: value}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_sentence_of_the_library_is_told(model: type[BaseModel], strict: bool) -> None:  # noqa: FBT001
    """Neither as JSON, which REST reads, nor as Python values, which kubectl's objects become."""
    for body in with_each_value(model):
        try:
            if strict:
                model.model_validate_json(json.dumps(body), strict=True)
            else:
                model.model_validate(body)
        except ValidationError as error:
            for detail in error.errors():
                assert not LIBRARY.search(message_of(detail)), detail


SAID: dict[str, tuple[Any, Any, str]] = {
    "a number for a text": (str, 5, "must be a string: write it in quotes"),
    "a text for a number": (int, "x", "must be a whole number: write it in digits"),
    "a fraction": (int, 1.5, "must be a whole number: write it without a fraction"),
    "a text for a truth": (bool, "often", "must be true or false"),
    "another word": (Literal["GET", "PUT"], "BREW", "must be 'GET' or 'PUT'"),
}


@pytest.mark.parametrize(("kind", "given", "want"), SAID.values(), ids=SAID)
def test_a_message_says_what_to_write(kind: Any, given: Any, want: str) -> None:
    """It is short, and has no path: that is the field's."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(given)
    assert message_of(refused.value.errors()[0]) == want


def refused_fields(model: type[BaseModel], body: Any) -> dict[str, str]:
    """Return the messages about a body by field."""
    with pytest.raises(InvalidResourceError) as refused:
        parse_body(model, json.dumps(body).encode())
    return {problem.path: problem.message for problem in refused.value.problems}


MEANT: dict[str, tuple[type[BaseModel], Any, str, str]] = {
    "a letter too few": (ScheduledTaskSpec, {"shedule": "x"}, "shedule", "schedule"),
    "another case": (ScheduledTaskSpec, {"timezone": "x"}, "timezone", "timeZone"),
    "snake case": (ScheduledTaskSpec, {"interval_seconds": 5}, "interval_seconds", "intervalSeconds"),
    "the beginning": (ScheduledTaskSpec, {"jitter": 5}, "jitter", "jitterSeconds"),
    "a task's type": (ScheduledTaskSpec, {"task": {"htpp": {}}}, "task.htpp", "http"),
    "a part of a task": (ScheduledTaskSpec, {"task": {"http": {"uri": "x"}}}, "task.http.uri", "url"),
    "an item of a list": (
        ScheduledTaskSpec,
        {"task": {"container": {"env": [{"nmae": "x"}]}}},
        "task.container.env[0].nmae",
        "name",
    ),
    "a part of a target": (
        HTTPTargetSpec,
        {"headers": [{"secretKeyref": {}}]},
        "headers[0].secretKeyref",
        "secretKeyRef",
    ),
    "a part of a request": (RunRequestSpec, {"taskref": {}}, "taskref", "taskRef"),
    "a part of a body": (schemas.TaskCreate, {"label": {}}, "label", "labels"),
    "a spec in a body": (schemas.TaskCreate, {"spec": {"retyr": {}}}, "spec.retyr", "retry"),
}


@pytest.mark.parametrize(("model", "body", "field", "meant"), MEANT.values(), ids=MEANT)
def test_a_misspelt_field_names_the_one_that_was_meant(
    model: type[BaseModel], body: Any, field: str, meant: str
) -> None:
    """It is compared with the fields of the object in which it stands."""
    assert refused_fields(model, body)[field] == f"is an unknown field: did you mean {meant}?"


def test_a_field_that_is_like_none_is_only_refused() -> None:
    """A wrong guess helps nobody."""
    said = refused_fields(ScheduledTaskSpec, {"cron": "x", "every": 5, "x": 1})
    assert {said[field] for field in ("cron", "every", "x")} == {MESSAGES["extra_forbidden"]}


def test_thousands_of_unknown_fields_are_answered_at_once() -> None:
    """At most fifty problems are told, and a name without end is not compared."""
    body = {"s" * 900_000: 1} | {f"{'shedul' * 9}{number:05}": 1 for number in range(5000)}
    started = time.process_time()
    with pytest.raises(InvalidResourceError) as refused:
        parse_spec(body, strict=True)
    assert len(refused.value.problems) == MOST_PROBLEMS
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("name", "want"),
    {"": None, "-": None, "Cpu": "cpu", "mem": None, "memo": "memory", "m" * 64: "m" * 64, "m" * 65: None}.items(),
)
def test_the_nearest_name(name: str, want: str | None) -> None:
    """Three letters are too few to complete."""
    assert nearest(name, ["cpu", "memory", "m" * 64, "m" * 65], 0.9) == want
