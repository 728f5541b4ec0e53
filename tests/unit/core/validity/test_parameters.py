"""The parameters of a request: what each task type accepts."""

from typing import Any

import pytest

from carillon_core.domain.validity.parameters import requested_task
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.tasks import Task
from support.builders import make_task

CONTAINER = {"image": "busybox", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | str]] = {
    "sum takes its summands": ({"sum": {"a": 1, "b": 2}}, {"a": 5}, {"sum": {"a": 5, "b": 2}}),
    "sum takes nothing else": (
        {"sum": {"a": 1, "b": 2}},
        {"c": 5},
        "spec.parameters.c is not a parameter of the task type sum: use only a and b",
    ),
    "sum refuses what is no number": (
        {"sum": {"a": 1, "b": 2}},
        {"a": "five"},
        "spec.parameters.a is not a number: write one, without quotes",
    ),
    "sleep takes its duration": (
        {"sleep": {"durationSeconds": 9}},
        {"durationSeconds": 1},
        {"sleep": {"durationSeconds": 1}},
    ),
    "sleep refuses a duration out of bounds": (
        {"sleep": {"durationSeconds": 9}},
        {"durationSeconds": 0},
        "spec.parameters.durationSeconds must be at least 1 (got 0)",
    ),
    "counter takes nothing": (
        {"counter": {"name": "n"}},
        {"name": "other"},
        "spec.parameters.name is not a parameter of the task type counter: remove it",
    ),
    "http takes anything, for its templates to read": (
        {"http": {"url": "http://a.example/{{ parameters.x }}"}},
        {"x": {"y": [1]}},
        {"http": {"url": "http://a.example/{{ parameters.x }}"}},
    ),
    "container takes environment variables": (
        {"container": CONTAINER},
        {"B": True, "C": 1.5, "D": "$x"},
        {
            "container": {
                "image": "busybox",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "value": "true"},
                    {"name": "C", "value": "1.5"},
                    {"name": "D", "value": "$x"},
                ],
            }
        },
    ),
    "container refuses what fits no variable": (
        {"container": CONTAINER},
        {"B": [1]},
        "spec.parameters.B must be a string, a number or a boolean: it becomes an environment variable",
    ),
    "plugin takes anything, beside its own": (
        {"plugin": {"name": "report", "parameters": {"a": 1, "b": 1}}},
        {"b": {"c": 2}},
        {"plugin": {"name": "report", "parameters": {"a": 1, "b": {"c": 2}}}},
    ),
}


@pytest.mark.parametrize(("task", "given", "want"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters(task: dict[str, Any], given: dict[str, Any], want: dict[str, Any] | str) -> None:
    """Each task type has its own parameters, both for a named task and for a request's own task."""
    named = parse_request_spec({"taskRef": {"name": "backup"}, "parameters": given}, strict=True)
    own = parse_request_spec({"task": task, "parameters": given}, strict=True)
    for found in (
        requested_task(named, make_task().every(60).with_spec(task=task).observed()),
        requested_task(own, None),
    ):
        if isinstance(want, str):
            assert not isinstance(found, Task)
            assert [f"{p.path} {p.message}" for p in found] == [want]
        else:
            assert isinstance(found, Task)
            assert found == Task.model_validate(want)


def test_a_request_that_names_no_task_that_can_be_run() -> None:
    """A request that names no valid task is refused."""
    spec = parse_request_spec({"taskRef": {"name": "backup"}}, strict=True)
    problems = requested_task(spec, None)
    assert not isinstance(problems, Task)
    assert [str(p) for p in problems] == ["spec.taskRef: must name an existing, valid ScheduledTask"]
