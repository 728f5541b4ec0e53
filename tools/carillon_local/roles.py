"""Creates the runners' and the API's roles in our own database, for ``make run``, tests and ``make faults``."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from carillon_core.adapters.postgres.roles import api_role, runner_role

RUNNER = "carillon_runner"
API = "carillon_api"


def runner_url(url: str) -> str:
    """Return the URL by which runners reach a database; it is deterministic."""
    return _url_of(RUNNER, url)


def prepare_runner(url: str) -> str:
    """Create the runners' role in a migrated database if it is missing; return the runners' URL."""
    made = runner_url(url)
    runner_role.prepare(url, made)
    return made


def prepare_api(url: str) -> str:
    """Create the API's role in a migrated database if it is missing; return the API's URL, which is deterministic."""
    made = _url_of(API, url)
    api_role.prepare(url, made)
    return made


def _url_of(role: str, url: str) -> str:
    parts = urlsplit(url)
    # derived from the owner's password, which it does not reveal, so that there is no other secret to store
    password = hashlib.scrypt((parts.password or "").encode(), salt=role.encode(), n=2**14, r=8, p=1, dklen=24).hex()
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))
