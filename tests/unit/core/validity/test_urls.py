"""What the text of a URL shows: a host or a port that no request can be sent to, and a password."""

from typing import Any

import pytest

from carillon_core.domain.validity.problems import target_problems, task_problems
from carillon_core.domain.validity.urls import password_advice
from carillon_core.errors import MOST_PATH
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.tasks import Task

NUMBER = "has a number as its host: write an address as four decimal numbers, such as 192.0.2.1"
CHARACTER = "has a backslash, a space or a control character in its host: remove it"
BAD: dict[str, tuple[str, str]] = {
    "a space in the host": ("http://exa mple.com/", CHARACTER),
    "a backslash in the host": ("http://example.com\\@other/", CHARACTER),
    "a port beyond the last": ("http://example.com:99999/", "has the invalid port 99999: use a port from 1 to 65535"),
    "a port of nothing": ("https://example.com:0/", "has the invalid port 0: use a port from 1 to 65535"),
    "a port of thousands of digits": (
        f"https://[::1]:{'9' * 5000}",
        "has the invalid port 99999999999…: use a port from 1 to",
    ),
    "a port that is a word": ("http://example.com:http/", "has something other than a host and an optional port"),
    "an address in hexadecimal": ("http://0x7f000001/", NUMBER),
    "an address in octal": ("http://0177.0.0.1/", NUMBER),
    "an address that is short": ("http://127.1/", NUMBER),
    "an address that is one number": ("http://2130706433/x", NUMBER),
    "an address beyond the last": ("http://1.2.3.256/", NUMBER),
    "an escape in the host": ("http://ex%41mple.com/", "has a character in its host that is not valid in names"),
    "a bracket without its other": ("http://[::1/", "has a host that is not valid: write a URL such as https://"),
    "an empty label": ("http://a..example.com/", "has two dots in a row, or a leading dot, in its host"),
    "a label that is too long": (f"http://{'a' * 64}.com/", "has a host that is too long"),
    "a port, and a template in the path": ("http://example.com:99999/{{ slot }}", "has the invalid port 99999"),
    "a number, and a template in the query": ("http://0x7f.1?at={{ slot }}", NUMBER),
    "a port after a template": (
        "http://{{ parameters.host }}:99999/",
        "has the invalid port 99999: use a port from 1 to 65535",
    ),
    "a space beside a template": ("http://exa mple.{{ parameters.zone }}/", CHARACTER),
}
GOOD = (
    "http://127.0.0.1/",
    "https://example.com:65535",
    "https://example.com:/",
    "https://example.com:00443/",
    "https://user:p%40ss@example.com/",
    "http://[::1]:80/a b",
    "http://faß.de./x\n",
    "http://a_b-.c/?x=:99999",
    "http://{{ parameters.host }}/",
    "http://{{ parameters.host }}:{{ parameters.port }}/",
    "http://[{{ parameters.address }}]:80/",
    "http://10.0.0.{{ parameters.n }}/",
    "http://{% if attempt > 1 %} a {% else %}b{% endif %}/x y:0",
    "http://a.{{ 'x}y' }}/:99999",
)


def url_messages(url: str) -> list[str]:
    """Return what is wrong with a URL, which is the same in a task and in a target."""
    task = task_problems(Task.model_validate({"http": {"url": url}}), "spec.task")
    target = target_problems(parse_target_spec({"url": url}, strict=True))
    assert [p.path for p in task] == ["spec.task.http.url"] * len(task)
    assert [p.path for p in target] == ["spec.url"] * len(target)
    assert [p.message for p in task] == [p.message for p in target]
    return [p.message for p in task]


@pytest.mark.parametrize(("url", "want"), BAD.values(), ids=BAD)
def test_a_url_that_no_request_can_be_sent_to_is_refused(url: str, want: str) -> None:
    """The runner would refuse it at each slot; the message says what to write."""
    (said,) = url_messages(url)
    assert said.startswith(want)


@pytest.mark.parametrize("url", GOOD)
def test_a_url_that_may_be_right_passes(url: str) -> None:
    """A template can become anything, and neither a path nor a query is judged."""
    assert url_messages(url) == []


def test_a_url_of_opening_braces_only_is_read_once() -> None:
    """A search for each closing brace from each opening one took quadratic time."""
    assert task_problems(Task.model_validate({"http": {"url": "http://a" + "{{" * 4000}}), "spec.task")


@pytest.mark.parametrize(
    ("url", "want"),
    {
        "https://me:hunter2@example.com/": 1,
        "https://me:hunter2@{{ parameters.host }}/": 1,
        "https://me:{{ parameters.password }}@example.com/": 0,
        "https://me@example.com/": 0,
        "https://example.com/me:hunter2@x": 0,
        "https://example.com:80/": 0,
    }.items(),
)
def test_a_password_is_warned_of(url: str, want: int) -> None:
    """Everyone who can read the object can read it; the warning does not repeat it."""
    said = list(password_advice(url, "spec.url"))
    assert [each.startswith("spec.url: contains a password, visible to everyone") for each in said] == [True] * want
    assert "hunter2" not in "".join(said)


NUL: dict[str, tuple[dict[str, Any], str]] = {
    "a body": ({"http": {"url": "https://a/", "body": "a\0b"}}, "spec.task.http.body"),
    "a command": ({"container": {"image": "a", "command": ["sh", "a\0"]}}, "spec.task.container.command[1]"),
    "a variable": (
        {"container": {"image": "a", "env": [{"name": "A", "value": "\0"}]}},
        "spec.task.container.env[0].value",
    ),
    "a parameter": (
        {"plugin": {"name": "a", "parameters": {"x": [{"y": "\0"}]}}},
        "spec.task.plugin.parameters.x[0].y",
    ),
}


@pytest.mark.parametrize(("task", "want"), NUL.values(), ids=NUL)
def test_a_text_that_cannot_be_stored_is_refused(task: dict[str, Any], want: str) -> None:
    """The API server stores a NUL; no process, no header and no database takes it."""
    (problem,) = task_problems(Task.model_validate(task), "spec.task")
    assert problem.path == want
    assert problem.message.startswith("must not contain ")


def test_a_key_that_cannot_be_stored_is_refused() -> None:
    """The path stays short, however long the key is."""
    task = Task.model_validate({"plugin": {"name": "a", "parameters": {"x\0" * 300: 1}}})
    (problem,) = task_problems(task, "spec.task")
    assert problem.path == "spec.task.plugin.parameters"
    assert len(problem.path) <= MOST_PATH
