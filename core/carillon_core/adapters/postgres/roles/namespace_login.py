"""A login of its own for the runners of each namespace, for use without a recorder.

Its name and password are derived from those of the runners' URL and the
namespace, so that the operator and ``carillon-migrate runner-role --namespace``
know them without being told, and the holder of one cannot compute another's.
"""

import hashlib
import hmac
from urllib.parse import quote, urlsplit, urlunsplit

from sqlalchemy import text

from carillon_core.adapters.postgres.engine import bounded, create_engine, credentials, required_login
from carillon_core.errors import UnavailableError

RUNNER = "CARILLON_RUNNER_DATABASE_URL"
MOST_NAME_BYTES = 63
"""Postgres cuts longer names of roles off."""
_HASH_DIGITS = 16
_PURPOSE = b"carillon runner login\0"
_THERE = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name AND rolcanlogin)")


def namespace_url(url: str, namespace: str) -> str:
    """Return the database URL for the runner pods of a namespace.

    Args:
        url: The runners' URL, with a user and a password.
        namespace: The name of the namespace.

    Raises:
        SettingsError: The URL is invalid, or lacks a user or a password.

    """
    user, password = required_login(url, RUNNER)
    derived = hmac.new(password.encode(), _PURPOSE + namespace.encode(), hashlib.sha256).hexdigest()
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    kept = [part for part in parts.query.split("&") if part.partition("=")[0] not in {"user", "password"}]
    login = f"{quote(role_name(user, namespace), safe='')}:{derived}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}", query="&".join(kept)))


def role_name(user: str, namespace: str) -> str:
    """Return the name of a namespace's role; a long one ends in a hash instead of the namespace."""
    name = f"{user}_{namespace}"
    if len(name.encode()) <= MOST_NAME_BYTES:
        return name
    end = f"_{hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}"
    return user.encode()[: MOST_NAME_BYTES - len(end)].decode(errors="ignore") + end


class NamespaceLogins:
    """The logins of namespaces, as the operator hands them out."""

    def __init__(self, database_url: str, runner_url: str) -> None:
        """Take the operator's own URL, with which it looks for roles, and the runners' URL."""
        self._database_url = database_url
        self._runner_url = runner_url

    def url(self, namespace: str) -> str:
        """Return the database URL for the runner pods of a namespace."""
        return namespace_url(self._runner_url, namespace)

    async def is_missing(self, namespace: str) -> bool:
        """Return whether the namespace's login does not exist; False while the database is unavailable."""
        user, _ = credentials(self.url(namespace))
        engine = create_engine(self._database_url, pool_size=1)
        try:
            async with bounded(engine.url), engine.connect() as connection:
                return not (await connection.execute(_THERE, {"name": user})).scalar_one()
        except UnavailableError:
            return False
        finally:
            await engine.dispose()
