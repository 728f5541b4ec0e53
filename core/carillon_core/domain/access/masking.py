"""Mask values in specs that are kept, by the audit and the history of specs: a secret becomes ``***``. Pure.

A value counts as a secret if its name suggests one. This is best effort,
because a spec's author may put a secret into any field. A secret belongs into
a Secret that the spec references.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_plus, unquote_plus

MASK = "***"

_SECRET_NAMES = re.compile(
    r"(?i)(?:authorization|authentication|cookie|credential|passw(?:or)?d|passphrase|secret|token|signature|"
    r"(?:^|[-_.]|x)(?:api|access|auth|private|signing|encryption|account|ssh|master|session)?[-_.]?keys?(?:$|[-_.\d])|apikey|"
    r"(?:^|[-_.])(?:auth|dsn|jwt|pass|pwd|sid)(?:$|[-_.])|connection[-_]?string)"
)
MOST_LEVELS = 64
"""The nesting limit of lists and objects; REST accepts half as many levels, but kubectl accepts more."""
_NAMED_VALUES = frozenset({"headers", "env", "parameters"})
"""Fields whose keys, or whose items' ``name``, a user chooses."""
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*@")
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
# a name without a value matches, too, so that the search takes linear time
_QUERY = re.compile(r"(?P<name>[?&;][^=&;#\s]+)(?:=(?P<value>[^&;#\s]*))?")


def masked_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec with its secrets masked; a spec that is nested too deep is masked as a whole."""
    if _is_too_deep(spec):
        return {MASK: f"nested deeper than {MOST_LEVELS} levels"}
    shown: dict[str, Any] = masked(dict(spec))
    return shown


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [item for each in level for item in _items(each)]
        if not level:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def suggests_secret(name: str) -> bool:
    """Return whether a header, a variable or a parameter with this name is likely to hold a secret."""
    return _SECRET_NAMES.search(name) is not None


def masked(value: Any) -> Any:
    """Return a masked copy of a spec or a part of it."""
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {}
    for key, item in value.items():
        if key in _NAMED_VALUES:
            shown[key] = _named(item)
        elif key == "body" and isinstance(item, str):
            shown[key] = _body(item)
        else:
            shown[key] = masked(item)
    return shown


def masked_text(text: str) -> str:
    """Return text in which the userinfo of URLs, and values of their parameters that suggest a secret, are masked."""
    return _QUERY.sub(_masked_parameter, _USERINFO.sub(f"{MASK}@", text))


def _masked_parameter(found: re.Match[str]) -> str:
    hidden = found["value"] and suggests_secret(unquote_plus(found["name"][1:]))
    return f"{found['name']}={quote_plus(MASK, safe='*')}" if hidden else found[0]


def _named(value: Any) -> Any:
    """Return the masked value of ``headers``, ``env`` or ``parameters``: an object, or a list of names and values."""
    if isinstance(value, dict):
        return {key: MASK if suggests_secret(key) and item is not None else _named(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_named_item(item) for item in value]
    return masked(value)


def _named_item(item: Any) -> Any:
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        hidden = suggests_secret(item["name"]) and item.get("value") is not None
        # a reference to a Secret's key is not a secret
        return {key: MASK if hidden and key == "value" else masked(part) for key, part in item.items()}
    return _named(item)


def _body(text: str) -> str:
    """Return an HTTP body, JSON or a form, in which values whose names suggest a secret are masked."""
    try:
        parsed = json.loads(text)
        shown = _named(parsed)
        return text if shown == parsed else _as_json(shown)
    except json.JSONDecodeError:
        return masked_text(f"?{text}")[1:]
    except (ValueError, RecursionError):
        # JSON with numbers that are too long, or nested too deep to be searched
        return MASK


def _as_json(value: Any) -> str:
    r"""Return a value as JSON that can be encoded; its strings may hold half a character, such as ``\ud800``."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if _HALF_CHARACTER.search(text) else text
