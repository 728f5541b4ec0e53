"""The roles of runners and of the API on a database that is ours: ``make run``, tests and ``make faults`` make them."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from carillon_core.adapters.postgres.roles import api_role, runner_role

RUNNER = "carillon_runner"
API = "carillon_api"


def runner_url(url: str) -> str:
    """Return the URL by which runners reach a database, the same at every call."""
    return _url_of(RUNNER, url)


def prepare_runner(url: str) -> str:
    """Have the runners' role there in a migrated database; return the URL of runners."""
    made = runner_url(url)
    runner_role.prepare(url, made)
    return made


def prepare_api(url: str) -> str:
    """Have the API's role there in a migrated database; return the API's URL, the same at every call."""
    made = _url_of(API, url)
    api_role.prepare(url, made)
    return made


def _url_of(role: str, url: str) -> str:
    parts = urlsplit(url)
    # derived from the owner's, so there is no other secret to keep; it does not reveal the owner's
    password = hashlib.scrypt((parts.password or "").encode(), salt=role.encode(), n=2**14, r=8, p=1, dklen=24).hex()
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))
