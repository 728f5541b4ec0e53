"""JSON of others, however deep: one hostile object must not keep all the others from being read.

The API server stores what nests ten thousand deep in a field that keeps what it
does not know. No decoder here goes so far: each gives up the whole list, page or
line in which such an object stands. So what is too deep is cut before it is
decoded. The models refuse what is half as deep (``resources.nesting``), and so
nobody takes what was cut for the object. The connection and the watch decode by
it; the operator has kopf do the same, and results in Postgres are cut alike.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson
from pydantic_core import from_json

DEEPEST = 200
"""So many levels are left of what is cut: fewer than any encoder takes (pydantic's and orjson's: 254)."""

# a text that never ends is taken for one: looked at again from each of its escaped quotes it would take for ever
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
_OPENING = frozenset((b"[", b"{"))


def decoded(raw: bytes) -> Any:
    """Return what JSON says; what is deeper than ``DEEPEST`` levels is null from there on.

    Raises:
        orjson.JSONDecodeError: It is no JSON.

    """
    if may_be_deep(raw):
        try:
            from_json(raw)  # which gives up about there; orjson goes on to 1,024 levels
        except ValueError:
            raw = shallow(raw)
    return orjson.loads(raw)


def may_be_deep(raw: bytes) -> bool:
    """Return whether JSON has brackets enough to be deeper than ``DEEPEST``; it costs next to nothing."""
    return raw.count(b"{") + raw.count(b"[") > DEEPEST


def shallow(raw: bytes) -> bytes:
    """Return JSON with null for whatever stands deeper than ``DEEPEST``; in linear time, of any bytes."""
    return b"".join(_kept(raw))


def _kept(raw: bytes) -> Iterator[bytes]:
    depth = begun = 0
    for token in _TOKEN.finditer(raw):
        sign = token.group()
        if sign in _OPENING:
            depth += 1
            if depth == DEEPEST + 1:
                yield raw[begun : token.start()] + b"null"
        elif len(sign) == 1:
            depth -= 1
            if depth == DEEPEST:
                begun = token.end()
    if depth <= DEEPEST:
        yield raw[begun:]
