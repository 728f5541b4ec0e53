"""Templates that parse, and that no rendering can succeed with."""

from datetime import UTC, datetime
from typing import Any

import pytest
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from carillon_core.domain.validity.template_syntax import (
    VARIABLES,
    parameters_of_templates,
    template_problems,
)
from carillon_runner.templates import Slot, render

SLOT = Slot.of(datetime(2026, 1, 1, tzinfo=UTC))
CONTEXT: dict[str, Any] = {
    "slot": SLOT,
    "local_slot": SLOT,
    "execution_id": "1",
    "attempt": 1,
    "task": "backup",
    "namespace": "prod",
    "cause": "schedule",
    "parameters": {"a": "b"},
}
FAILING: dict[str, str] = {
    "{% include 'x' %}": "it includes another template, which is not supported: write the text here",
    "{% import 'x' as y %}": "it includes another template",
    "{% from 'x' import y %}": "it includes another template",
    "{% extends 'x' %}": "it includes another template",
    "{{ slot() }}": "it calls slot, which is a time: write it without parentheses",
    "{% set ns = namespace(k=1) %}": "it calls namespace, which is a string",
    "{{ parameters('a') }}": "it calls parameters, which is an object",
    "{{ task.name }}": "it reads task.name, which does not exist: task is a string",
    "{{ slot.isofomat() }}": "it reads slot.isofomat, which does not exist: slot is a time",
    "{{ attempt.real.x + attempt.count }}": "it reads attempt.count, which does not exist: attempt is a number",
    "{{ ''.__class__ }}": "it reads __class__, which is not allowed in templates",
    "{{ parameters.__init__ }}": "it reads __init__, which is not allowed in templates",
    "{{ parameters.update({}) }}": "it modifies parameters, which are read-only",
    "{% set slot.a = 1 %}": "it sets the attribute slot.a, which is not allowed: set a plain variable instead",
    "{{ attempt / 0 }}": "it divides by zero",
    "{{ slot | replace('-') }}": "the filter replace does not take these arguments (missing a required argument: 'new'",
    "{{ slot | upper(1) }}": "the filter upper does not take these arguments (too many positional arguments)",
    "{{ slot | round(places=2) }}": "the filter round does not take these arguments",
    "{% if attempt is divisibleby %}{% endif %}": "the test divisibleby does not take these arguments",
}
WORKING = (
    "{{ slot.strftime('%Y') }} {{ slot.date() }} {{ local_slot.hour }} {{ cause.upper() }} {{ attempt.bit_length() }}",
    "{{ task.name | default('x') }}{% if task.name is defined %}{% endif %}{{ task.name is undefined }}",
    "{% set x = task.name %}{{ x | default('y') }}{{ 'y' | default(task.name) }}{{ [task.name] | length }}",
    "{% set task = {'name': 1} %}{{ task.name }}",
    "{% macro slot() %}a{% endmacro %}{{ slot() }}",
    "{% for cause in [parameters] %}{{ cause.a }}{% endfor %}",
    "{{ parameters.a }}{{ parameters.items() | list }}{{ parameters.get('x', 1) }}{{ parameters.keys() | join(',') }}",
    "{{ parameters | tojson(indent=2) }}{{ [1, 2] | sum(start=3) }}{{ 'a' | replace('a', 'b', count=1) }}",
    "{{ 'a %s' | format(1) }}{{ [1] | map('string') | first }}{{ [2, 1] | sort(reverse=true) }}",
    "{% filter upper %}a{% endfilter %}{% block b %}x{% endblock %}{{ self.b() }}{{ '%d' % 0 }}{{ 1 / 2 }}",
)


def problems_of(template: str) -> list[str]:
    """Return what is wrong with a template."""
    return [p.message for p in template_problems([("spec.body", template)])]


def is_rendered(template: str) -> bool:
    """Return whether the runner can render a template."""
    return "error" not in render({"body": template}, CONTEXT)


@pytest.mark.parametrize(("template", "want"), FAILING.items())
def test_a_template_that_cannot_be_rendered_is_refused(template: str, want: str) -> None:
    """The runner fails on it, too, at each slot."""
    (said,) = problems_of(template)
    assert said.startswith(f"is a template that cannot be rendered: {want}")
    assert not is_rendered(template)


@pytest.mark.parametrize("template", WORKING)
def test_a_template_that_can_be_rendered_passes(template: str) -> None:
    """The runner renders it."""
    assert problems_of(template) == []
    assert is_rendered(template)


def test_arguments_are_refused_only_where_the_runner_fails() -> None:
    """For every filter and every test of Jinja, with up to four arguments."""
    refused = 0
    for names, form in ((FILTERS, "{{{{ slot | {} }}}}"), (TESTS, "{{{{ slot is {} }}}}")):
        for name in names:
            if not name.isidentifier() or name in {"none", "in"}:
                continue
            for count in range(5):
                template = form.format(f"{name}({', '.join(['1'] * count)})")
                if problems_of(template):
                    refused += 1
                    assert not is_rendered(template), template
    assert refused > 100


def test_the_variables_are_those_of_the_runner() -> None:
    """A variable without a type here would not be judged."""
    assert set(VARIABLES) == set(CONTEXT)


@pytest.mark.parametrize(
    ("template", "want"),
    {
        "{{ parameters.b }}{{ parameters['a'] }}": ["a", "b"],
        "{{ parameters.a ~ 'b' }}": ["a"],
        "{% set x = parameters.a %}{{ [parameters.c] | length }}": [],
        "{{ parameters.a | upper }}": ["a"],
        "{{ parameters.a | default('x') }}{{ parameters.get('a') }}{{ parameters | tojson }}": [],
        "{% if parameters.a is defined %}{{ parameters.a }}{% endif %}": [],
        "{{ parameters.a is defined and parameters.a }}": [],
        "{% if cause == 'manual' %}{{ parameters.a }}{% endif %}{{ parameters.a if parameters else 1 }}": [],
        "{% for k in parameters %}{{ parameters[k] }}{% endfor %}": [],
        "{% set parameters = {'a': 1} %}{{ parameters.a }}": [],
        "parameters.a": [],
    }.items(),
)
def test_the_parameters_that_a_template_needs(template: str, want: list[str]) -> None:
    """Without them, the runner cannot render it; otherwise it can."""
    assert dict(parameters_of_templates([("spec.body", template)])) == ({"spec.body": want} if want else {})
    assert ("error" in render({"body": template}, CONTEXT | {"parameters": {}})) is bool(want)


CHOSEN = [
    "{{ task.name if task.name is defined else task }}",
    "{% if cause == 'manual' %}{{ slot.nope }}{% endif %}",
    "{{ parameters and slot.nope }}",
    "{% for each in [] %}{{ 1 // 0 }}{% endfor %}",
    "{% macro never() %}{{ slot() }}{% endmacro %}",
]


@pytest.mark.parametrize("text", CHOSEN)
def test_what_a_rendering_may_not_reach_is_no_certain_failure(text: str) -> None:
    """Tasks with such templates run."""
    assert problems_of(text) == []
