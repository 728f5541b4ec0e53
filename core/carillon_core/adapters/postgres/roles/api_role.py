"""The role that the API logs in as; ``carillon-migrate api-role`` makes it.

It reads the history, adds to the audit without being able to alter what is
there, and keeps the keys of idempotency. It cannot write an execution, call
what runners call, read the keys of their tokens, or create anything. So
what leaks of its login, or gets into its SQL, can neither forge nor drop the
history; who holds its account of the cluster can act as anybody there, and
read the owner's login.
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
        "maintenance": ("SELECT",),
        "alembic_version": ("SELECT",),
        "audit_events": ("SELECT", "INSERT"),
        "idempotency_keys": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    }
)
"""What the adapters ``history`` (its reader), ``audit`` and ``idempotency`` do, table by table. Partitions and later
months are reached through the whole tables, and need nothing of their own."""

_ROLE = LoginRole(
    variable=API,
    whose="the API",
    mark=APIS,
    granted="; ".join(f"{', '.join(privileges)} on {table}" for table, privileges in TABLES.items()),
    bound="do nothing else, nor create anything",
    tables=TABLES,
)
_FORGES = text("SELECT has_table_privilege('executions', 'INSERT, UPDATE, DELETE, TRUNCATE')")


def prepare(owner_url: str, api_url: str) -> Sequence[str]:
    """Make the role of the API's URL, as ``login_role.prepare`` does."""
    return login_role.prepare(_ROLE, owner_url, api_url)


async def may_forge(url: str) -> bool:
    """Return whether the user of a URL may write executions, which the API has no need of.

    Raises:
        SettingsError: The URL is none.
        UnavailableError: The database is out of reach or not migrated.

    """
    engine = create_engine(url, pool_size=1)
    try:
        async with bounded(engine.url), engine.connect() as connection:
            return bool((await connection.execute(_FORGES)).scalar_one())
    finally:
        await engine.dispose()
