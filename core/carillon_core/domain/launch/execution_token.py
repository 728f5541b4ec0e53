"""The token that permits a runner to record its own execution and no other. Pure.

The operator signs one for each Job with a runner (``manifest``). The functions of
the schema ``carillon_runner`` in Postgres verify it and take everything that
identifies the execution from it (``runner_functions.sql``)::

    key id . base64(payload) . hex(HMAC-SHA256(key, "key id.base64(payload)"))

The key's id distinguishes a key that the database does not know yet, because the
operator could not reach it, from a forged token.
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
"""Parameters of scrypt (RFC 7914): about 50 ms and 16 MiB, once for each start of an operator."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that signs tokens."""

    key: bytes = field(repr=False)
    """32 bytes."""

    @classmethod
    def derived(cls, secret: str) -> Self:
        """Return the key derived from a secret, the same at every call.

        It uses scrypt because tokens are visible in pod specs: a fast hash would let a reader guess passwords.
        """
        return cls(hashlib.scrypt(secret.encode(), salt=_LABEL, dklen=32, **_COST))

    @property
    def id(self) -> str:
        """An identifier that does not reveal the key: 16 hexadecimal digits."""
        return hashlib.sha256(_LABEL + self.key).hexdigest()[:_ID_LENGTH]

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """The inner and outer pads of HMAC, 64 bytes each, because SQL has SHA-256 but no XOR of bytes."""
        padded = self.key.ljust(BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)

    def token(self, payload: Mapping[str, Any]) -> str:
        """Return the token of a payload without its None values."""
        given = {name: value for name, value in payload.items() if value is not None}
        encoded = base64.b64encode(json.dumps(given, separators=(",", ":"), sort_keys=True).encode()).decode()
        signed = f"{self.id}.{encoded}"
        return f"{signed}.{hmac.new(self.key, signed.encode(), hashlib.sha256).hexdigest()}"
