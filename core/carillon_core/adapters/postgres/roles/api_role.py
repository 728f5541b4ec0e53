"""The role that the API logs in as; ``carillon-migrate api-role`` creates it.

It can read the history, append to the audit log, and store idempotency keys.
It cannot write executions, call the runners' functions, read the keys of
execution tokens, or create objects. A leaked login or an SQL injection can
therefore not forge or drop the history. An attacker who controls the API's
service account can still impersonate any user of the cluster, and read the
owner's login.
"""

from collections.abc import Sequence
from types import MappingProxyType

from sqlalchemy import text

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.roles import login_role
from carillon_core.adapters.postgres.roles.login_role import APIS, LoginRole

API = "CARILLON_API_DATABASE_URL"
TABLES = MappingProxyType(
    {
        "executions": ("SELECT",),
        "attempts": ("SELECT",),
        "task_revisions": ("SELECT",),
        "maintenance": ("SELECT",),
        "alembic_version": ("SELECT",),
        "audit_events": ("SELECT", "INSERT"),
        "idempotency_keys": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    }
)
"""The privileges that the adapters ``history`` and ``revisions`` (their readers), ``audit`` and ``idempotency`` need.
Partitions are reached through their tables and need no privileges of their own."""

_ROLE = LoginRole(
    variable=API,
    whose="the API",
    mark=APIS,
    granted="; ".join(f"{', '.join(privileges)} on {table}" for table, privileges in TABLES.items()),
    bound="do anything else, or create objects",
    tables=TABLES,
)
_FORGES = text("SELECT has_table_privilege('executions', 'INSERT, UPDATE, DELETE, TRUNCATE')")


def prepare(owner_url: str, api_url: str) -> Sequence[str]:
    """Create the role of the API's URL, as ``login_role.prepare`` describes."""
    return login_role.prepare(_ROLE, owner_url, api_url)


async def may_forge(url: str) -> bool:
    """Return whether the user of a URL may write executions, which the API does not need.

    Raises:
        SettingsError: The URL is invalid.
        UnavailableError: The database is unavailable or not migrated.

    """
    engine = create_engine(url, pool_size=1)
    try:
        async with bounded(engine.url), engine.connect() as connection:
            return bool((await connection.execute(_FORGES)).scalar_one())
    finally:
        await engine.dispose()
