"""Strict JSON, in time and memory that are linear in its size. ``bodies`` reads every request body by it.

The number of values, the depth and the length of keys are limited before
anything is built from them, so that what comes later may take some time for
each value.
"""

import json
import math
from typing import Any

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.errors import MOST_PATH, MOST_PROBLEMS, FieldProblem, InvalidResourceError, cut
from carillon_core.json_values import has_more_values, text_problem

MAX_DEPTH = 32
MAX_VALUES = 10_000
"""Of a body: a hundred times as many as a large task has. A body of a mebibyte could have half a million."""
MAX_KEY = 1024
"""The maximum number of characters in a key: many times as many as any name in Kubernetes has."""
MAX_INTEGER_DIGITS = 19
MAX_INTEGER = 2**63 - 1


def decode_json(data: bytes) -> Any:
    """Return JSON as Python values; a number beyond 64 bits becomes infinity, which ``check_values`` reports.

    Raises:
        RequestRefusedError: If it is not JSON (RFC 8259), has too many values or is nested too deep, or an object has a
            duplicate key.

    """
    if has_more_values(data, MAX_VALUES):
        detail = f"the body must not have more than {MAX_VALUES} values: send fewer, or encode them as one text"
        raise RequestRefusedError(Kind.MALFORMED, detail)
    try:
        return json.loads(data.decode(), parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise RequestRefusedError(Kind.MALFORMED, "the body must be encoded in UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise RequestRefusedError(Kind.MALFORMED, f"the body is not valid JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise _too_deep() from error


def check_values(value: Any) -> None:
    """Reject values that JSON can express but Kubernetes, Postgres or UTF-8 cannot store.

    Raises:
        RequestRefusedError: If it is nested too deep.
        InvalidResourceError: With the paths of the first invalid values.

    """
    search = _Search()
    search.walk(value, 1)
    if search.problems:
        raise InvalidResourceError(search.problems)


class _Search:
    """Looks for values that cannot be stored; writes a path only where it finds one."""

    def __init__(self) -> None:
        self.problems: list[FieldProblem] = []
        self._place: list[str] = []

    def walk(self, value: Any, depth: int) -> None:
        """Search a value; recursive, because its depth is limited."""
        if depth > MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, dict):
            self._note(next((m for key in value if (m := _key_problem(key))), None))
            for key, item in value.items():
                self._enter(f".{cut(key, MOST_PATH)}", item, depth)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                self._enter(f"[{at}]", item, depth)
        elif isinstance(value, str):
            self._note(text_problem(value))
        elif isinstance(value, float) and not math.isfinite(value):
            self._note("must be a finite number that fits into 64 bits: use a smaller number")

    def _enter(self, part: str, item: Any, depth: int) -> None:
        self._place.append(part)
        self.walk(item, depth + 1)
        self._place.pop()

    def _note(self, message: str | None) -> None:
        if message is not None and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(FieldProblem("".join(self._place).lstrip(".") or "(body)", message))


def _integer(text: str) -> float:
    # Python needs quadratic time to parse a long number, and raises an error beyond 4300 digits.
    value = int(text) if len(text) <= MAX_INTEGER_DIGITS + 1 else math.inf
    return value if abs(value) <= MAX_INTEGER else math.inf


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers disagree on which value counts; RFC 8259, section 4.
        raise RequestRefusedError(Kind.MALFORMED, "an object in the body has a duplicate key: remove one of the two")
    return found


def _too_deep() -> RequestRefusedError:
    return RequestRefusedError(Kind.MALFORMED, f"the body must not be nested deeper than {MAX_DEPTH} levels")


def _key_problem(key: str) -> str | None:
    if len(key) > MAX_KEY:
        return f"must not have a key of more than {MAX_KEY} characters: use a shorter one"
    return text_problem(key)
