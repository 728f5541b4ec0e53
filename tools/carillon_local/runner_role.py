"""The role that runners log in as, on a database that is ours: ``make run``, the tests and ``make faults`` make it."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from carillon_core.adapters.postgres import runner_role

ROLE = "carillon_runner"


def runner_url(url: str) -> str:
    """Return the URL by which runners reach a database, the same at every call."""
    parts = urlsplit(url)
    # made of the owner's, so that there is no other secret to keep; nobody finds the owner's by it
    password = hashlib.scrypt((parts.password or "").encode(), salt=ROLE.encode(), n=2**14, r=8, p=1, dklen=24).hex()
    return urlunsplit(parts._replace(netloc=f"{ROLE}:{password}@{parts.netloc.rpartition('@')[2]}"))


def prepare(url: str) -> str:
    """Have the role there in a migrated database; return the URL of runners."""
    made = runner_url(url)
    runner_role.prepare(url, made)
    return made
