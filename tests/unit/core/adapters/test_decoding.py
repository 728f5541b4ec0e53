"""JSON that is too deep for decoders is cut and its rest is read; models reject much less depth."""

import json
import random
from typing import Any

import orjson
import pytest

from carillon_core.adapters.decoding import DEEPEST, decoded, may_be_deep, shallow
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.nesting import MOST_LEVELS
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import parse_spec


def deep(levels: int, inside: str = "1") -> bytes:
    """Return an object with this nesting depth."""
    return (b'{"a":' * levels) + inside.encode() + b"}" * levels


def depth(value: Any) -> int:
    """Return how many levels a value has."""
    found, level = 0, [value]
    while level := [p for v in level if isinstance(v, dict | list) for p in (v.values() if isinstance(v, dict) else v)]:
        found += 1
    return found


@pytest.mark.parametrize("levels", [DEEPEST, 260, 1_000, 1_025, 9_000, 100_000])
def test_the_others_are_read_beside_one_that_is_too_deep(levels: int) -> None:
    """The objects before and after it in the list are complete."""
    raw = b'{"items":[{"n":"a}]"},' + deep(levels) + b',{"n":"\\"[{"}],"metadata":{"x":[1]}}'
    found = decoded(raw)
    first, cut, last = found["items"]
    assert (first, last, found["metadata"]) == ({"n": "a}]"}, {"n": '"[{'}, {"x": [1]})
    assert depth(found) == DEEPEST
    assert json.loads(json.dumps(cut)) == cut
    assert orjson.loads(orjson.dumps(found)) == found


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 3000, b'{"a":' * 3000, b"]" * 3000, b'"', b"{]" * 2000, b'["\\'])
def test_what_is_no_json_is_said_to_be_none(raw: bytes) -> None:
    """This holds for any length."""
    with pytest.raises(orjson.JSONDecodeError):
        decoded(raw)


def test_what_is_not_too_deep_stays_as_it_is() -> None:
    """This holds for any text, brackets and escapes."""
    drawn = random.Random(3)  # noqa: S311  # reproducible, not secret

    def value(levels: int) -> Any:
        if not levels or drawn.random() < 0.2:
            return drawn.choice([1, None, "", '"', "\\", "[{", "]}", '\\"', "é", True])
        if drawn.random() < 0.5:
            return [value(levels - 1) for _ in range(3)]
        return {drawn.choice(['"', "[", "a\\", "}"]) + str(k): value(levels - 1) for k in range(3)}

    for _ in range(200):
        wanted = value(6)
        raw = json.dumps(wanted).encode()
        assert shallow(raw) == raw
        assert decoded(raw) == wanted
    assert not may_be_deep(b'{"a":1}')


@pytest.mark.parametrize("levels", [MOST_LEVELS, MOST_LEVELS + 1, DEEPEST - 10])
def test_a_free_field_is_bounded(levels: int) -> None:
    """A cut object is always deeper than the limit of models, so it is never accepted as the original."""
    given = json.loads(deep(levels))
    for parse, raw, path in (
        (
            parse_spec,
            {"intervalSeconds": 60, "task": {"plugin": {"name": "x", "parameters": given}}},
            "spec.task.plugin.parameters",
        ),
        (parse_request_spec, {"taskRef": {"name": "x"}, "parameters": given}, "spec.parameters"),
    ):
        if levels <= MOST_LEVELS:
            parse(raw, strict=False)
            continue
        with pytest.raises(InvalidResourceError) as refused:
            parse(raw, strict=False)
        assert [str(p) for p in refused.value.problems] == [
            f"{path}: nests more than {MOST_LEVELS} levels deep: write it flatter, or as a string"
        ]
