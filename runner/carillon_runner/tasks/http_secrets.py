"""Header values and signatures from Secrets, and masking them in everything that is recorded.

Masking is best effort: a server can write a secret in ways that nobody thinks
of. What is masked: the secret as it is, stripped, and in JSON, HTML, URLs,
mixtures of these, hex, and base64, also within something longer that is
encoded as a whole, such as ``user:secret``.
"""

import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

from carillon_runner.outcome import TaskFailedError

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]+")
_HIDDEN = "***"
_KEY_PREFIX = "whsec_"
_SHORTEST_PART = 4
"""Shorter strings are not treated as secrets, because masking them would make everything unreadable."""
_BASE64 = {"+": "(?:[+-]|%2b)", "/": "(?:[/_]|%2f)"}
"""Characters of base64 that are other ones in URLs."""
_OUTER = "[a-z0-9+/_-]?"
_MIXED = 256
"""How many characters of a secret are looked for in all mixtures: a text may repeat them endlessly."""
_MOST_WRITTEN = 6
"""How many characters are hidden for each further one of a longer secret."""
_PLANE = 0x10000
"""Characters from here on are two in JSON's escapes."""
SIGNATURE_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of one request, read from the environment."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Sequence[bytes] = field(default=(), repr=False)
    """The request is signed with each of these keys."""
    pattern: re.Pattern[str] | None = field(default=None, repr=False)
    """Matches what must not be recorded: each secret as a server may echo it."""
    longest: int = 0
    """The length of the longest match."""

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
        if self.pattern is None:
            return text[:length]
        parts: list[str] = []
        end = 0
        for match in self.pattern.finditer(text):
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
    forms: dict[str, int] = {}
    for each in spec.get("secretHeaders") or ():
        given = _value(each, variables)
        value = given.strip(" \t")  # as every server reads it: RFC 9110, section 5.5
        if not _HEADER_VALUE.fullmatch(value):
            raise _unusable(each, "is empty, or has a line break or a character that a header cannot have")
        headers[each["name"]] = value
        forms |= _written(given) | _written(value) | _parts(value)
    for each in spec.get("signing") or ():
        value = _value(each, variables)
        keys.append(_key(each, value))
        forms |= _written(value) | _written(value.strip(" \t")) | _written(value.removeprefix(_KEY_PREFIX))
    if not forms:
        return Secrets(headers, keys)
    longest_first = sorted(forms, key=forms.__getitem__, reverse=True)
    return Secrets(headers, keys, re.compile("|".join(longest_first), re.IGNORECASE), max(forms.values()))


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


def _parts(value: str) -> dict[str, int]:
    """Return the parts of credentials that a server may echo without their scheme ("Bearer …", "Basic …")."""
    scheme, _, rest = value.rpartition(" ")
    if not scheme or len(rest) < _SHORTEST_PART:
        return {}
    forms = _written(rest)
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user_and_password = b64decode(rest, validate=True).decode("utf-8")
            forms |= _written(user_and_password) | _written(user_and_password.partition(":")[2])
    return forms


def _written(secret: str) -> dict[str, int]:
    """Return patterns of the forms in which a server may echo a secret, each with the length of its longest match."""
    if not secret:
        return {}
    written = [_ways_to_write(character) for character in secret[:_MIXED]]
    pattern = "".join(ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})" for ways, _ in written)
    rest = _MOST_WRITTEN * max(0, len(secret) - _MIXED)
    forms = {pattern + (rf"\S{{0,{rest}}}" if rest else ""): sum(longest for _, longest in written) + rest}
    forms[re.escape(secret)] = len(secret)
    for charset in ("utf-8", "latin-1"):
        with suppress(UnicodeError):
            raw = secret.encode(charset, "surrogateescape")
            if len(raw) >= _SHORTEST_PART:
                forms |= _encoded(raw)
    return forms


def _ways_to_write(character: str) -> tuple[Sequence[str], int]:
    """Return patterns of a character in JSON, HTML, URLs and one within the other, and the length of the longest."""
    if character.isascii() and character.isalnum():
        return (character,), 1
    from html import escape  # noqa: PLC0415  # only for requests with secrets

    number = ord(character)
    in_json = {json.dumps(character)[1:-1], json.dumps(character, ensure_ascii=False)[1:-1], f"\\{character}"}
    if number < _PLANE:
        in_json.add(f"\\u{number:04x}")
    in_html = {escape(character), f"&#{number};", f"&#x{number:x};", f"&#0{number};", f"&#x{number:02x};"}
    in_html |= {escape(text) for text in in_json}
    plain = {character, *in_json, *in_html, *(text.replace("&", "\\u0026") for text in in_html)}
    if character == "'":
        plain.add("&apos;")
    ways = {*plain, *(json.dumps(text)[1:-1] for text in plain)}
    for charset in ("utf-8", "latin-1"):
        with suppress(UnicodeError):
            escaped = "".join(f"%{byte:02x}" for byte in character.encode(charset, "surrogateescape"))
            ways |= {escaped, escaped.replace("%", "%25")}
    if character == " ":
        ways.add("+")
    ways.add(quote(character, safe="", errors="replace"))
    return sorted(map(re.escape, ways), key=len, reverse=True), max(map(len, ways))


def _encoded(raw: bytes) -> dict[str, int]:
    """Return patterns of bytes in hex and in base64, wherever they begin in what is encoded.

    Base64 turns three bytes into four characters. The characters that belong to the bytes alone are known; one beside
    them on either side belongs to a neighbour, too.
    """
    forms = {re.escape(raw.hex()): 2 * len(raw)}
    for before in range(3):
        text = b64encode(b"\0" * before + raw).decode("ascii")
        known = text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        inner = "".join(_BASE64.get(character, character) for character in known)
        forms[f"{_OUTER if before else ''}{inner}{_OUTER}"] = 3 * len(known) + 2
    return forms
