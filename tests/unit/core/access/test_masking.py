"""The audit's copy of a spec, in which secrets are masked."""

import json
from typing import Any

import pytest

from carillon_core.domain.access.masking import MASK, MOST_LEVELS, masked, masked_spec, suggests_secret

NAMES: dict[str, bool] = {
    "Authorization": True,
    "Proxy-Authorization": True,
    "Cookie": True,
    "Set-Cookie": True,
    "X-API-Key": True,
    "Api-Key": True,
    "apikey": True,
    "X-Auth-Token": True,
    "X-Hub-Signature-256": True,
    "DB_PASSWORD": True,
    "PGPASSWD": True,
    "client_secret": True,
    "CLIENT_SECRET_ID": True,
    "AWS_ACCESS_KEY_ID": True,
    "SSH_PRIVATE_KEY": True,
    "SIGNING_KEY": True,
    "key": True,
    "access_token": True,
    "DATABASE_DSN": True,
    "Accept": False,
    "Content-Type": False,
    "X-Request-ID": False,
    "User-Agent": False,
    "KEYBOARD": False,
    "monkey": False,
    "AUTHOR": False,
    "PATH": False,
    "LOG_LEVEL": False,
    "Idempotency-Key": True,
}


@pytest.mark.parametrize("name", NAMES)
def test_which_names_smell_of_a_secret(name: str) -> None:
    """In doubt, a value is masked."""
    assert suggests_secret(name) is NAMES[name]


SPECS: dict[str, tuple[Any, Any]] = {
    "headers of a task": (
        {"task": {"http": {"headers": {"Authorization": "Bearer x", "Accept": "a/b"}}}},
        {"task": {"http": {"headers": {"Authorization": MASK, "Accept": "a/b"}}}},
    ),
    "headers of a target, by value and by reference": (
        {
            "headers": [
                {"name": "X-API-Key", "value": "x"},
                {"name": "Authorization", "secretKeyRef": {"name": "s", "key": "token"}},
                {"name": "Accept", "value": "a/b"},
            ]
        },
        {
            "headers": [
                {"name": "X-API-Key", "value": MASK},
                {"name": "Authorization", "secretKeyRef": {"name": "s", "key": "token"}},
                {"name": "Accept", "value": "a/b"},
            ]
        },
    ),
    "a container's environment": (
        {"env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "MODE", "value": "fast"}]},
        {"env": [{"name": "DB_PASSWORD", "value": MASK}, {"name": "MODE", "value": "fast"}]},
    ),
    "a plugin's parameters, at any depth": (
        {"parameters": {"token": 5, "login": {"user": "u", "password": "x"}, "to": ["a"]}},
        {"parameters": {"token": MASK, "login": {"user": "u", "password": MASK}, "to": ["a"]}},
    ),
    "a secret that is an object": ({"parameters": {"credentials": {"a": "x"}}}, {"parameters": {"credentials": MASK}}),
    "userinfo of a URL": ({"url": "https://u:p@h/x"}, {"url": f"https://{MASK}@h/x"}),
    "userinfo of a URL in a header": (
        {"headers": {"Referer": "https://u:p@h/"}},
        {"headers": {"Referer": f"https://{MASK}@h/"}},
    ),
    "a parameter of a URL": (
        {"url": "https://h/x?a=1&api_key=x&token=y#f"},
        {"url": "https://h/x?a=1&api_key=***&token=***#f"},
    ),
    "a parameter whose name is encoded": ({"url": "https://h/?api%5Fkey=x"}, {"url": "https://h/?api%5Fkey=***"}),
    "a URL without any": ({"url": "https://h/a@b?c=d"}, {"url": "https://h/a@b?c=d"}),
    "a body of JSON": (
        {"body": '{"user": "u", "password": "x"}'},
        {"body": '{"user": "u", "password": "***"}'},
    ),
    "a body with an escape that stands for half a character": (
        {"body": '{"password": "x", "a": "\\ud800", "\\udfff": "\u00e4"}'},
        {"body": '{"password": "***", "a": "\\ud800", "\\udfff": "\\u00e4"}'},
    ),
    "a body with letters of other languages": (
        {"body": '{"password": "x", "a": "\u00e4\\u00e4"}'},
        {"body": '{"password": "***", "a": "\u00e4\u00e4"}'},
    ),
    "a body of JSON without any stays as it was written": ({"body": '{ "a":1 }'}, {"body": '{ "a":1 }'}),
    "a body that is a form": ({"body": "user=u&password=x"}, {"body": "user=u&password=***"}),
    "a body that is text": ({"body": "good morning?"}, {"body": "good morning?"}),
    "a field of our own that is named like one": (
        {"signing": {"secretKeyRefs": [{"name": "s", "key": "k"}]}, "targetRef": {"name": "t"}},
        {"signing": {"secretKeyRefs": [{"name": "s", "key": "k"}]}, "targetRef": {"name": "t"}},
    ),
    "a value that is not there": ({"env": [{"name": "TOKEN"}]}, {"env": [{"name": "TOKEN"}]}),
    "what is no object": ([1, None, "a"], [1, None, "a"]),
}


@pytest.mark.parametrize("case", SPECS)
def test_what_is_masked_in_a_spec(case: str) -> None:
    """Values under names that users choose, and URLs, are masked; the spec itself is unchanged."""
    given, want = SPECS[case]
    before = repr(given)
    assert masked(given) == want
    assert repr(given) == before


def nested(levels: int) -> Any:
    """Build nested lists around a secret."""
    value: Any = {"parameters": {"token": "hunter2"}}
    for _ in range(levels):
        value = [value]
    return value


BODIES: dict[str, tuple[str, str]] = {
    "JSON nested deeper than the stack": ("[" * 900 + '{"password": "hunter2"}' + "]" * 900, MASK),
    "JSON nested deeper than the parser reads": ("[" * 60_000, MASK),
    "a number that Python does not read": ('{"password": "hunter2", "n": ' + "1" * 5000 + "}", MASK),
    "text that is full of marks, in linear time": ("?" * 2**20, "?" * 2**20),
    "marks within a name": ("?a?b=c&d?token=x;e", "?a?b=c&d?token=***;e"),
}


@pytest.mark.parametrize("case", BODIES)
def test_no_body_stops_the_audit(case: str) -> None:
    """A spec that cannot be searched is masked as a whole."""
    body, want = BODIES[case]
    assert masked({"http": {"body": body}}) == {"http": {"body": want}}


@pytest.mark.parametrize("levels", [1, MOST_LEVELS - 4, MOST_LEVELS, 900])
def test_a_spec_nested_too_deep_is_left_out(levels: int) -> None:
    """The API server accepts more levels than Python's stack."""
    shown = masked_spec({"task": nested(levels)})
    assert "hunter2" not in json.dumps(shown)
    assert ("task" in shown) is (levels < MOST_LEVELS - 3)
