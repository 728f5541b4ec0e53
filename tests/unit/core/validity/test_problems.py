"""The problems of a spec: each has the field's path and the fix, once."""

from typing import Any

import pytest

from carillon_core.errors import InvalidResourceError
from carillon_core.resources.scheduled_task import parse_spec

COUNT: dict[str, Any] = {"counter": {}}
SAID: dict[str, tuple[Any, list[str]]] = {
    "a time that is none": (
        {"runAt": "tomorrow", "task": COUNT},
        ["spec.runAt: is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"],
    ),
    "a time without a zone": (
        {"runAt": "2027-01-01T00:00:00", "task": COUNT},
        ["spec.runAt: is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"],
    ),
    "a number that is none, once": (
        {"intervalSeconds": 5, "task": {"sum": {"a": "x", "b": 1}}},
        ["spec.task.sum.a: is not a number: write one, without quotes"],
    ),
    "an unknown field": (
        {"intervalSeconds": 5, "cron": "x", "task": COUNT},
        ["spec.cron: is an unknown field: remove it or correct its spelling"],
    ),
    "a field with a letter too few": (
        {"schedule": "@daily", "timeZone": "Europe/Berlin", "suspnd": True, "task": COUNT},
        ["spec.suspnd: is an unknown field: did you mean suspend?"],
    ),
    "a field that is missing": ({"intervalSeconds": 5}, ["spec.task: is required: add it"]),
    "an item of a list": (
        {"intervalSeconds": 5, "task": {"http": {"url": "http://x", "expectedStatuses": [200, 99]}}},
        ["spec.task.http.expectedStatuses[1]: must be at least 100 (got 99)"],
    ),
}


@pytest.mark.parametrize(("spec", "want"), SAID.values(), ids=SAID.keys())
def test_a_problem_names_its_field_and_the_mend(spec: Any, want: list[str]) -> None:
    """Each problem is one sentence about one field."""
    with pytest.raises(InvalidResourceError) as refused:
        parse_spec(spec, strict=True)
    assert [str(problem) for problem in refused.value.problems] == want
