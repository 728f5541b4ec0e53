"""What the JSON of a body may hold, and that reading it costs no more than its size."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from carillon_api.http.bodies import parse_body
from carillon_api.http.json_text import MAX_DEPTH, MAX_KEY, MAX_VALUES, check_values, decode_json
from carillon_api.http.problems import RequestRefusedError
from carillon_api.schemas import TaskCreate
from carillon_core.errors import MOST_PATH, MOST_PROBLEMS, InvalidResourceError

MIB = 1024 * 1024


@contextmanager
def memory_of(most: int) -> Iterator[None]:
    """Fail if the block takes more memory at its peak."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "is_read"),
    {
        json.dumps([0] * (MAX_VALUES - 1)): True,
        json.dumps([0] * MAX_VALUES): False,
        json.dumps({str(k): 0 for k in range(MAX_VALUES - 1)}): True,
        json.dumps({str(k): 0 for k in range(MAX_VALUES)}): False,
        json.dumps([[[]]] * (MAX_VALUES // 3)): True,
        json.dumps([[[]]] * (MAX_VALUES // 3 + 1)): False,
        json.dumps("{[,," * MAX_VALUES): True,
        json.dumps(['\\",' * MAX_VALUES, "\\"]): True,
        json.dumps(["\\"] + [","] * MAX_VALUES): False,
    }.items(),
)
def test_only_values_count_and_not_what_texts_hold(text: str, *, is_read: bool) -> None:
    """Braces, brackets, commas and escaped quotes in texts are no values."""
    if is_read:
        assert decode_json(text.encode()) == json.loads(text)
        return
    with pytest.raises(RequestRefusedError, match="10000 values"):
        decode_json(text.encode())


@pytest.mark.parametrize("data", [b'"' + b'\\"' * (MIB // 2), b'"' * MIB, b"[" * MIB, b'{"' * (MIB // 2), b"," * MIB])
def test_what_never_ends_is_refused_without_a_copy_of_it(data: bytes) -> None:
    """A quote without its partner is not looked for from each quote that follows."""
    with memory_of(8 * MIB), pytest.raises(RequestRefusedError):
        decode_json(data)


def test_a_path_is_written_for_what_is_refused_only() -> None:
    """An array under a long key once took the key's length for each of its items."""
    value = {"K" * MAX_KEY: [0] * 9_000 + ["\0"]}
    with memory_of(MIB), pytest.raises(InvalidResourceError) as refused:
        check_values(value)
    assert [len(p.path) for p in refused.value.problems] == [MOST_PATH]


@pytest.mark.parametrize("value", [["\0"] * 9_000, {str(k): "\ud800" for k in range(9_000)}, [float("inf")] * 9_000])
def test_no_more_problems_are_told_than_anybody_reads(value: Any) -> None:
    """The first ones, in the order of the body."""
    with pytest.raises(InvalidResourceError) as refused:
        check_values(value)
    assert len(refused.value.problems) == MOST_PROBLEMS
    assert refused.value.problems[0].path in {"[0]", "0"}


@pytest.mark.parametrize("fields", [{f"k{n}": 1 for n in range(9_000)}, {"labels": {f"k{n}": 1 for n in range(9_000)}}])
def test_a_thousand_unknown_fields_are_no_work(fields: dict[str, Any]) -> None:
    """Each of pydantic's complaints is looked at once at most."""
    body = json.dumps({"name": "good", "spec": {}, **fields}).encode()
    with memory_of(24 * MIB), pytest.raises(InvalidResourceError) as refused:
        parse_body(TaskCreate, body)
    assert len(refused.value.problems) == MOST_PROBLEMS
    assert len(str(refused.value)) < 10_000


def test_a_key_is_not_longer_than_any_name() -> None:
    """Its own length is not told back."""
    check_values({"K" * MAX_KEY: 1})
    with pytest.raises(InvalidResourceError) as refused:
        check_values({"a": {"K" * (MAX_KEY + 1): 1}})
    assert [str(p) for p in refused.value.problems] == [
        "a: must not have a key of more than 1024 characters: use a shorter one"
    ]


def test_the_depth_is_limited() -> None:
    """One level too many is refused."""
    check_values(json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH))
    with pytest.raises(RequestRefusedError, match="32 levels"):
        check_values(json.loads("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)))
