"""The token by which a runner may record its own execution, and no other. Pure.

The operator signs one for each Job that has a runner (``manifest``); the
functions of the schema ``carillon_runner`` in Postgres check it, and take
everything that identifies the execution from it (``runner_functions.sql``)::

    key id . base64(payload) . hex(HMAC-SHA256(key, "key id.base64(payload)"))

The key's id tells a key that the database does not know yet, because the
operator could not reach it, from a token that is forged.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

BLOCK_BYTES = 64
"""The block of SHA-256, to which HMAC (RFC 2104) pads a key."""
_LABEL = b"carillon execution token"
_ID_LENGTH = 16
_COST = {"n": 2**14, "r": 8, "p": 1}
"""Of scrypt (RFC 7914): some 50 ms and 16 MiB, once for each start of an operator."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that signs tokens."""

    key: bytes = field(repr=False)
    """32 bytes."""

    @classmethod
    def derived(cls, secret: str) -> Self:
        """Return the key that a secret stands for, the same at every call.

        By scrypt: a token stands in a pod's spec, and whoever reads it must not be able to try a thousand million
        passwords a second on it.
        """
        return cls(hashlib.scrypt(secret.encode(), salt=_LABEL, dklen=32, **_COST))

    @property
    def id(self) -> str:
        """What tells keys apart, and does not tell the key: 16 hexadecimal digits."""
        return hashlib.sha256(_LABEL + self.key).hexdigest()[:_ID_LENGTH]

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """The key as HMAC uses it, inner and outer, 64 bytes each: SQL has a SHA-256, and no exclusive or of bytes."""
        padded = self.key.ljust(BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)

    def token(self, payload: Mapping[str, Any]) -> str:
        """Return the token of a payload; what is None is left out of it."""
        given = {name: value for name, value in payload.items() if value is not None}
        encoded = base64.b64encode(json.dumps(given, separators=(",", ":"), sort_keys=True).encode()).decode()
        signed = f"{self.id}.{encoded}"
        return f"{signed}.{hmac.new(self.key, signed.encode(), hashlib.sha256).hexdigest()}"
