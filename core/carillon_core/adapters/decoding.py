"""Decodes untrusted JSON of any depth: one hostile object must not make a whole list unreadable.

The API server stores ten thousand levels in a field with unknown content. No
decoder accepts that: each fails for the whole list, page or line that contains
the object. Therefore levels that are too deep are cut before decoding. The
models refuse half that depth (``resources.nesting``), so that a cut object is
never mistaken for the original. The connection, the watch and kopf decode with
this module, and results in Postgres are cut in the same way.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson
from pydantic_core import from_json

DEEPEST = 200
"""The number of levels that are kept: fewer than encoders accept (pydantic and orjson: 254)."""

# an unterminated string counts as one token: searching again from each escaped quote would take quadratic time
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
_OPENING = frozenset((b"[", b"{"))


def decoded(raw: bytes) -> Any:
    """Decode JSON; values below ``DEEPEST`` levels become null.

    Raises:
        orjson.JSONDecodeError: It is not JSON.

    """
    if may_be_deep(raw):
        try:
            from_json(raw)  # fails at about that depth; orjson accepts 1,024 levels
        except ValueError:
            raw = shallow(raw)
    return orjson.loads(raw)


def may_be_deep(raw: bytes) -> bool:
    """Return whether JSON has enough brackets to be deeper than ``DEEPEST``: a cheap check."""
    return raw.count(b"{") + raw.count(b"[") > DEEPEST


def shallow(raw: bytes) -> bytes:
    """Return JSON with null for values below ``DEEPEST`` levels; accepts any bytes, in linear time."""
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
