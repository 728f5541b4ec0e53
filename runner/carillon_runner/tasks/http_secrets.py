"""What an HTTP request has of Secrets: header values and signatures; and that no record has any of it."""

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
"""Characters; what is shorter is no secret, and to hide it everywhere would leave nothing to read."""
SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one request, out of the environment."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Sequence[bytes] = field(default=(), repr=False)
    """With each of them the request is signed."""
    _forms: Sequence[str] = field(default=(), repr=False)
    """What must not be recorded: each secret, as servers write it when they repeat it; the longest first."""

    @property
    def longest(self) -> int:
        """How many characters the longest of what is hidden has."""
        return max(map(len, self._forms), default=0)

    def signature_headers(self, execution_id: UUID, body: bytes) -> dict[str, str]:
        """Return the three headers of Standard Webhooks, or none if there is no key to sign with.

        The id is the execution's, in all its attempts: by it the receiver knows a repetition. Each key's signature is
        ``v1,`` and HMAC-SHA256 over ``id.timestamp.body``, in base64.
        """
        if not self.keys:
            return {}
        import hashlib  # noqa: PLC0415  # both: only who signs pays for them
        import hmac  # noqa: PLC0415  # see above

        timestamp = str(int(time.time()))
        signed = f"{execution_id}.{timestamp}.".encode() + body
        signatures = [b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii") for key in self.keys]
        values = (str(execution_id), timestamp, " ".join(f"v1,{signature}" for signature in signatures))
        return dict(zip(SIGNATURE_HEADERS, values, strict=True))

    def hidden(self, text: str, length: int) -> str:
        """Return the text's beginning without any secret, also none that is cut in two where it ends.

        Args:
            text: The text, by ``longest`` characters longer than what is wanted of it, if there is so much.
            length: How many of its characters are wanted.

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
        spec: The task's, of which ``secretHeaders`` and ``signing`` are read.
        variables: What the environment holds, by the variables' names.

    Raises:
        TaskFailedError: One is not there (``SecretMissing``), or cannot be a header's value or a key
            (``InvalidRequest``); the message names the Secret and its key, and never repeats a value.

    """
    headers: dict[str, str] = {}
    keys: list[bytes] = []
    forms: set[str] = set()
    for each in spec.get("secretHeaders") or ():
        value = _value(each, variables)
        if not _HEADER_VALUE.fullmatch(value):
            raise _unusable(each, "is empty, or has a line break or a character that no header can have")
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
            "SecretMissing", f"the request needs {each['source']}, and there is no such Secret, or no such key in it"
        )
    # many a tool that writes Secrets ends them with a line break
    return value.rstrip("\r\n")


def _key(each: Mapping[str, Any], value: str) -> bytes:
    try:
        if value.startswith(_KEY_PREFIX):
            key = b64decode(value.removeprefix(_KEY_PREFIX), validate=True)
        else:
            key = value.encode("utf-8")
    except ValueError:
        raise _unusable(each, "is no signing key: what follows whsec_ must be base64") from None
    if not key:
        raise _unusable(each, "is no signing key: it is empty")
    return key


def _unusable(each: Mapping[str, Any], why: str) -> TaskFailedError:
    return TaskFailedError("InvalidRequest", f"the value of {each['source']} {why}")


def _parts(value: str) -> set[str]:
    """Return what a server may repeat of credentials without their scheme: "Bearer …", "Basic …"."""
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
    """Return a secret as a server may repeat it: plain, in JSON, in a URL, in HTML, in base64."""
    if not secret:
        return set()
    from html import escape  # noqa: PLC0415  # only who has secrets pays for it

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
