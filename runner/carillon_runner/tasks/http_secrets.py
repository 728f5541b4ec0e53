"""Header values and signatures from Secrets, and masking them in everything that is recorded."""

import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

from carillon_runner.outcome import TaskFailedError

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]+")
_HIDDEN = "***"
_KEY_PREFIX = "whsec_"
_SHORTEST_PART = 4
"""Shorter strings are not treated as secrets, because masking them would make everything unreadable."""
SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one request, read from the environment."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Sequence[bytes] = field(default=(), repr=False)
    """The request is signed with each of these keys."""
    _forms: Sequence[str] = field(default=(), repr=False)
    """Forms that must not be recorded: each secret as a server may echo it, longest first."""

    @property
    def longest(self) -> int:
        """The length of the longest masked form."""
        return max(map(len, self._forms), default=0)

    def signature_headers(self, execution_id: UUID, body: bytes) -> dict[str, str]:
        """Return the three headers of Standard Webhooks, or no headers if there is no signing key.

        The id is the execution's in all attempts, so that the receiver recognises a repetition. Each key's signature is
        ``v1,`` and HMAC-SHA256 over ``id.timestamp.body``, in base64.
        """
        if not self.keys:
            return {}
        import hashlib  # noqa: PLC0415  # both only for signed requests
        import hmac  # noqa: PLC0415  # see above

        timestamp = str(int(time.time()))
        signed = f"{execution_id}.{timestamp}.".encode() + body
        signatures = [b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii") for key in self.keys]
        values = (str(execution_id), timestamp, " ".join(f"v1,{signature}" for signature in signatures))
        return dict(zip(SIGNATURE_HEADERS, values, strict=True))

    def hidden(self, text: str, length: int) -> str:
        """Return the beginning of a text without secrets, including one that would be cut at its end.

        Args:
            text: The text, up to ``longest`` characters longer than the wanted part.
            length: The number of characters wanted.

        """
        if not self._forms:
            return text[:length]
        pattern = re.compile("|".join(map(re.escape, self._forms)), re.IGNORECASE)
        parts: list[str] = []
        end = 0
        for match in pattern.finditer(text):
            if match.start() >= length:
                break
            parts += [text[end : match.start()], _HIDDEN]
            end = match.end()
        parts.append(text[end : max(end, length)])
        return "".join(parts)[:length]


def read_secrets(spec: Mapping[str, Any], variables: Mapping[str, str]) -> Secrets:
    """Return the secrets that a task names.

    Args:
        spec: The task's spec; ``secretHeaders`` and ``signing`` are read.
        variables: The environment variables.

    Raises:
        TaskFailedError: A secret is missing (``SecretMissing``), or is not a valid header value or key
            (``InvalidRequest``); the message names the Secret and its key, and never repeats a value.

    """
    headers: dict[str, str] = {}
    keys: list[bytes] = []
    forms: set[str] = set()
    for each in spec.get("secretHeaders") or ():
        value = _value(each, variables)
        if not _HEADER_VALUE.fullmatch(value):
            raise _unusable(each, "is empty, or has a line break or a character that a header cannot have")
        headers[each["name"]] = value
        forms |= _written(value) | _parts(value)
    for each in spec.get("signing") or ():
        value = _value(each, variables)
        keys.append(_key(each, value))
        forms |= _written(value) | _written(value.removeprefix(_KEY_PREFIX))
    return Secrets(headers, keys, sorted(forms, key=len, reverse=True))


def _value(each: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    value = variables.get(each["variable"])
    if value is None:
        raise TaskFailedError(
            "SecretMissing", f"the request needs {each['source']}, but the Secret or its key does not exist"
        )
    # many tools end the values of Secrets with a line break
    return value.rstrip("\r\n")


def _key(each: Mapping[str, Any], value: str) -> bytes:
    try:
        if value.startswith(_KEY_PREFIX):
            key = b64decode(value.removeprefix(_KEY_PREFIX), validate=True)
        else:
            key = value.encode("utf-8")
    except ValueError:
        raise _unusable(each, "is not a signing key: the part after whsec_ must be base64") from None
    if not key:
        raise _unusable(each, "is not a signing key: it is empty")
    return key


def _unusable(each: Mapping[str, Any], why: str) -> TaskFailedError:
    return TaskFailedError("InvalidRequest", f"the value of {each['source']} {why}")


def _parts(value: str) -> set[str]:
    """Return the parts of credentials that a server may echo without their scheme ("Bearer …", "Basic …")."""
    scheme, _, rest = value.rpartition(" ")
    if not scheme or len(rest) < _SHORTEST_PART:
        return set()
    forms = _written(rest)
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user_and_password = b64decode(rest, validate=True).decode("utf-8")
            forms |= _written(user_and_password) | _written(user_and_password.partition(":")[2])
    return forms


def _written(secret: str) -> set[str]:
    """Return the forms in which a server may echo a secret: plain, JSON, URL, HTML, base64."""
    if not secret:
        return set()
    from html import escape  # noqa: PLC0415  # only for requests with secrets

    encoded = b64encode(secret.encode("utf-8", "surrogateescape")).decode("ascii")
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
        escape(secret),
        encoded.rstrip("="),
    }
