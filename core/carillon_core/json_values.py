"""What JSON texts and values must not have; for the servers that read bodies of clients they do not know.

A few bytes can become a value of a hundred times their size, and an error
message for each. So values are counted before anything is parsed.
"""

import re
from collections.abc import Iterator
from typing import Any

from carillon_core.errors import FieldProblem

# a string without an end matches to the end of the text, so that no quote is tried twice
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def has_more_values(data: bytes, most: int) -> bool:
    """Return whether JSON has more than ``most`` values, each after the beginning, a bracket, a brace or a comma.

    Only what is outside of strings counts. Nothing is copied, and the search
    ends with the first value too many, or with more strings than that many
    values and their keys can be.
    """
    if _beginnings(data, 0, len(data)) < most:
        return False
    count, at = 1, 0
    for number, string in enumerate(_STRING.finditer(data)):
        count += _beginnings(data, at, string.start())
        if count > most or number >= 2 * most:
            return True
        at = string.end()
    return count + _beginnings(data, at, len(data)) > most


def _beginnings(data: bytes, start: int, end: int) -> int:
    return data.count(b",", start, end) + data.count(b"[", start, end) + data.count(b"{", start, end)


def text_problem(text: str) -> str | None:
    """Return why Kubernetes, Postgres or UTF-8 cannot store a text, or None if they can."""
    found = _NOT_STORABLE.search(text)
    if found is None:
        return None
    if found[0] == "\0":
        return "must not contain a NUL character: remove it"
    return "contains an unpaired surrogate: write the whole character"


def text_problems(value: Any, path: str) -> Iterator[FieldProblem]:
    """Yield a problem for each text in a value, and for each object with a key, that cannot be stored.

    Args:
        value: A value of JSON, of limited depth.
        path: The path of the value.

    """
    if isinstance(value, str):
        if (message := text_problem(value)) is not None:
            yield FieldProblem(path, message)
    elif isinstance(value, dict):
        if (message := next((m for key in value if (m := text_problem(str(key)))), None)) is not None:
            yield FieldProblem(path, f"has a key that {message}")
        for key, item in value.items():
            yield from text_problems(item, f"{path}.{key}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from text_problems(item, f"{path}[{at}]")
