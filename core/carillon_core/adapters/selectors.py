"""Label selectors as the API server reads them: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``."""

import re
from collections.abc import Callable, Mapping

from carillon_core.errors import RefusedError

Selector = Callable[[Mapping[str, str]], bool]

_KEY = r"(?:[a-z0-9A-Z.-]+/)?[a-zA-Z0-9](?:[\w.-]*[a-zA-Z0-9])?"
_VALUE = r"(?:[a-zA-Z0-9](?:[\w.-]*[a-zA-Z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_PRESENCE = re.compile(rf"(!?)\s*({_KEY})")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")


def selector_of(text: str) -> Selector:
    """Return a selector as a predicate on labels; an empty text selects everything.

    Raises:
        RefusedError: If it cannot be read.

    """
    terms = [_term(part.strip()) for part in _COMMA_OUTSIDE_PARENTHESES.split(text)] if text.strip() else []
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str) -> Selector:
    if match := _EQUALITY.fullmatch(text):
        key, operator, value = match.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _SET.fullmatch(text):
        key, operator, listed = match.groups()
        values = {v.strip() for v in listed.split(",")}
        if operator == "notin":
            return lambda labels: labels.get(key) not in values
        return lambda labels: labels.get(key) in values
    if match := _PRESENCE.fullmatch(text):
        negation, key = match.groups()
        return lambda labels: (key in labels) is not bool(negation)
    raise RefusedError(f"the label selector cannot be read at {text!r}: write it like app=web,tier in (a,b),!old")
