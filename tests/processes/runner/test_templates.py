"""The templates of HTTP tasks: their features, and limits on hostile ones."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from carillon_runner.environment import Environment
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.templates import CPU_SECONDS, OUTPUT_LIMIT, render, rendered

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")


def make_execution(**changes: Any) -> Execution:
    """Return the second attempt of an execution, in summer."""
    environment = Environment(
        record_url="postgresql://",
        token="",
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type="http",
        spec={},
        slot=datetime(2026, 7, 1, 22, 5, tzinfo=UTC),
        cause="manual",
        timeout_seconds=60,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
        time_zone="Europe/Berlin",
        parameters={"who": "Ann", "list": [1, 2], "deep": {"x": "hunter2"}},
    )
    return Execution(replace(environment, **changes), time.monotonic() + 60, lambda _name: 0, attempt=2)


def one(template: str, **changes: Any) -> str:
    """Return a rendered text."""
    return rendered({"body": template}, make_execution(**changes))["body"]


@pytest.mark.parametrize(
    ("template", "want"),
    [
        ("{{ slot }}", "2026-07-01T22:05:00Z"),
        ("{{ local_slot }}", "2026-07-02T00:05:00+02:00"),
        ("{{ local_slot.strftime('%Y/%m/%d') }} {{ slot.date() }}", "2026/07/02 2026-07-01"),
        ("{{ slot.replace(hour=0) }}", "2026-07-01T00:05:00Z"),
        ("{{ slot.isoformat() }}", "2026-07-01T22:05:00+00:00"),
        ("{{ execution_id }}/{{ attempt }}", f"{UID}/2"),
        ("{{ namespace }}/{{ task }} {{ cause }}", "shop/report manual"),
        (
            "{{ parameters.who }} {{ parameters | tojson }}",
            'Ann {"deep": {"x": "hunter2"}, "list": [1, 2], "who": "Ann"}',
        ),
        ("{% for n in parameters.list %}{{ n * 2 }},{% endfor %}", "2,4,"),
        ("{% if attempt > 1 %}again{% endif %}", "again"),
        ("{# nothing #}x\n", "x\n"),
        ("{{ parameters.none | default('-') }}", "-"),
        ("{{ '%03d' % attempt }}{{ '%s' | format(attempt) }}", "0022"),
        ("{{ 2 ** 10 }} {{ '-' * 3 }}", "1024 ---"),
        ("{{ '<&>' }}", "<&>"),
        ("no template { } at all", "no template { } at all"),
    ],
)
def test_a_template_says(template: str, want: str) -> None:
    """All variables work; text without templates is unchanged."""
    assert one(template) == want


def test_a_zone_that_is_nowhere_is_named_only_by_who_asks() -> None:
    """UTC needs no time zone database."""
    assert one("{{ slot }}", time_zone="Middle/Earth") == "2026-07-01T22:05:00Z"
    with pytest.raises(TaskFailedError, match="time zone 'Middle/Earth' is not known here"):
        one("{{ local_slot }}", time_zone="Middle/Earth")


@pytest.mark.parametrize(
    ("template", "want"),
    [
        ("{{ nobody }}", "'nobody' is undefined"),
        ("{{ parameters.nothing }}", "has no attribute 'nothing'"),
        ("{% for %}", "(line 1)"),
        ("a\n{{", "(line 2)"),
        ("{{ slot.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{% set _ = parameters.update(x=1) %}", "unsafe"),
        ("{% include 'x' %}", "raises TypeError"),
        ("{{ slot.strptime(parameters.deep.x, '%Y') }}", "raises ValueError"),
        ("{{ 1 / 0 }}", "raises ZeroDivisionError"),
        ("{{ 'x' * 2000000 }}", "the product is too large"),
        ("{{ 2000000 * 'x' }}", "the product is too large"),
        ("{{ [0] * 2000000 }}", "the product is too large"),
        ("{{ 9 ** 99999 }}", "the power is too large"),
        ("{{ (2 ** 1000) ** 1000 }}", "the power is too large"),
        ("{{ '%99999999d' % 1 }}", "three digits"),
        ("{{ '%*d' % (99999999, 1) }}", "three digits"),
        ("{{ '%.9999999f' | format(1) }}", "three digits"),
        ("{% for n in range(1000000000) %}{% endfor %}", "a range can have at most"),
        ("{% for n in range(9999) %}{{ 'x' * 999 }}{% endfor %}", f"more than {OUTPUT_LIMIT}"),
    ],
)
def test_a_template_that_fails_says_why(template: str, want: str) -> None:
    """The message has the field's name and Jinja's message, but not Python's, which may contain a parameter."""
    with pytest.raises(TaskFailedError) as caught:
        rendered({"url": "http://h/", "header X-Y": template}, make_execution())
    assert caught.value.reason == "TemplateFailed"
    assert caught.value.message.startswith("the template of header X-Y cannot be rendered: ")
    assert want in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "template",
    [
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{{ 'x' | center(10000000000) }}",
        "{{ '{:>10000000000}'.format(1) }}",
        "{{ ('x' * 900000) | replace('x', 'y' * 900000) }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a * b %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_what_the_sandbox_lets_through_ends_with_its_process(template: str) -> None:
    """The limits on memory and time always apply, and the runner is not affected."""
    began = time.monotonic()
    with pytest.raises(TaskFailedError) as caught:
        one(template)
    assert caught.value.reason == "TemplateFailed"
    # CPU time, on a machine that may be busy
    assert time.monotonic() - began < 20 * CPU_SECONDS


def test_all_texts_together_are_bounded() -> None:
    """The limit applies to all headers together."""
    half = "{{ 'x' * 600000 }}"
    assert "error" not in render({"a": half}, {})
    assert render({"a": half, "b": half}, {})["field"] == "b"


def test_the_runner_sees_nothing_of_a_template_that_changes_what_it_is_given() -> None:
    """Rendering works on a copy."""
    execution = make_execution()
    with pytest.raises(TaskFailedError):
        rendered({"body": "{{ parameters.list.append(3) }}"}, execution)
    assert execution.environment.parameters["list"] == [1, 2]
