"""Callers of a facade: API keys, and requests with given credentials."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from carillon_core.domain.access.api_keys import entry, entry_json, hash_of, new_key
from support.api import TASKS, Facade

SECRET = ("carillon-system", "carillon-api-keys")
KEY = new_key("ci")
USER = "system:serviceaccount:team-a:ci"
GUESSES = 20
"""The default of ``failed_auth_burst``."""


def keep_key(rest: Facade, name: str, *keys: str, **changes: Any) -> None:
    """Store keys under this name in the Secret."""
    made = replace(entry([hash_of(key) for key in keys], USER, [], None), **changes)
    rest.server.secrets.setdefault(SECRET, {})[name] = entry_json(made, ()).encode()


def later(rest: Facade, seconds: float) -> None:
    """Advance the clock."""
    rest.clock.now += timedelta(seconds=seconds)


async def status(rest: Facade, path: str = TASKS, **headers: str) -> int:
    """Return the status of a GET with exactly these headers."""
    rest.client.headers.pop("Authorization", None)
    return (await rest.client.get(path, headers=headers)).status_code
