"""Creates, restricts and verifies login roles; ``runner_role`` and ``api_role`` define what theirs may do.

Such a role has the privileges that its ``LoginRole`` lists and no others: it
owns no objects, cannot create any, and is not a member of any role.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from carillon_core.adapters.postgres.engine import (
    LOCK,
    MIGRATE,
    WHAT,
    connect_args,
    credentials,
    required_login,
    sqlalchemy_url,
)
from carillon_core.adapters.postgres.recorder import session_options
from carillon_core.adapters.postgres.roles.trial_claim import try_claim
from carillon_core.errors import SettingsError, UnavailableError

OWNER = "DATABASE_URL"
TIMEOUT = "60s"
"""The time limit of a statement of such a role, and of an idle transaction: both hold locks."""
RUNNERS, APIS = "is the runners' role", "is the API's role"
"""The purposes of existing roles, recognised by their privileges."""

_Connection = psycopg.Connection[tuple[object, ...]]

_ATTRIBUTES: LiteralString = """
    SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
           EXISTS (SELECT FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
                   WHERE n.oid = to_regnamespace('carillon_runner') AND a.grantee = r.oid),
           EXISTS (SELECT FROM pg_class AS c, aclexplode(c.relacl) AS a
                   WHERE c.oid = to_regclass('idempotency_keys') AND a.grantee = r.oid),
           ARRAY(SELECT g.rolname::text FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                 WHERE m.member = r.oid)
    FROM pg_roles AS r WHERE rolname = %s
"""
_POWERS = (
    *("is a superuser", "may create roles", "may create databases", "may replicate", "may bypass row security"),
    *(RUNNERS, APIS),
)
_THERE: LiteralString = """
    SELECT to_regnamespace('carillon_runner') IS NOT NULL
        AND NOT EXISTS (SELECT FROM unnest(%(tables)s::text[]) AS t (name) WHERE to_regclass(t.name) IS NULL)
"""
# each row is a statement: the privileges that the role gets, and those that it and PUBLIC lose
_BOUNDS: LiteralString = """
    SELECT format('GRANT CONNECT ON DATABASE %%I TO %%I', current_database(), %(role)s::text)
    UNION ALL
    SELECT format('REVOKE CREATE, TEMPORARY ON DATABASE %%I FROM PUBLIC, %%I', current_database(), %(role)s::text)
    UNION ALL
    SELECT format('REVOKE CREATE ON SCHEMA %%I FROM PUBLIC, %%I', nspname, %(role)s::text)
    FROM pg_namespace WHERE has_schema_privilege(%(role)s::text, oid, 'CREATE')
    UNION ALL
    SELECT format('REVOKE ALL ON TABLE %%s FROM PUBLIC, %%I', string_agg(oid::regclass::text, ', '), %(role)s::text)
    FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(quote_ident(current_schema()))
        AND pg_has_role(relowner, 'USAGE')
    UNION ALL
    SELECT format('REVOKE ALL ON %%s carillon_runner FROM PUBLIC, %%I', what, %(role)s::text)
    FROM unnest(ARRAY['SCHEMA', 'ALL FUNCTIONS IN SCHEMA']) AS w (what)
    UNION ALL
    SELECT format('GRANT USAGE ON SCHEMA carillon_runner TO %%I', %(role)s::text) WHERE %(functions)s
    UNION ALL
    -- functions that run as their owner; their helpers stay the owner's
    SELECT format('GRANT EXECUTE ON FUNCTION %%s TO %%I', string_agg(oid::regprocedure::text, ', '), %(role)s::text)
    FROM pg_proc WHERE prosecdef AND pronamespace = to_regnamespace('carillon_runner') AND %(functions)s
    HAVING count(*) > 0
    UNION ALL
    SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', current_schema(), %(role)s::text)
    WHERE cardinality(%(tables)s::text[]) > 0
    UNION ALL
    -- a privilege on a partitioned table covers its partitions, future ones too
    SELECT format('GRANT %%s ON TABLE %%s TO %%I', g.privileges, to_regclass(g.name)::text, %(role)s::text)
    FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS g (name, privileges)
    UNION ALL
    -- statements that name no schema must find the tables where the owner finds them
    SELECT format('ALTER ROLE %%I IN DATABASE %%I SET search_path = %%I', %(role)s::text, current_database(),
                  current_schema())
    WHERE cardinality(%(tables)s::text[]) > 0 AND current_schema() <> 'public' AND NOT EXISTS (
        SELECT FROM pg_db_role_setting AS s
        WHERE s.setrole = to_regrole(quote_ident(%(role)s::text))
            AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND 'search_path=' || quote_ident(current_schema()) = ANY (s.setconfig))
"""
# as the role sees it: what it has, by whichever grant, PUBLIC included. What extensions bring is not counted
_EXCESS: LiteralString = """
    WITH of_extensions AS (SELECT objid FROM pg_depend WHERE deptype = 'e'),
    granted AS (
        SELECT to_regclass(g.name)::oid AS oid, string_to_array(g.privileges, ', ') AS privileges
        FROM unnest(%(tables)s::text[], %(privileges)s::text[]) AS g (name, privileges)
    )
    SELECT format('may use the table %%s', c.oid::regclass)
        || CASE WHEN g.oid IS NULL THEN '' ELSE format(' for %%s', string_agg(p.name, ', ')) END
    FROM pg_class AS c LEFT JOIN granted AS g ON g.oid = c.oid
    CROSS JOIN unnest(
        ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
        || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] ELSE '{}' END
    ) AS p (name)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
        AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        AND p.name <> ALL (coalesce(g.privileges, '{}'))
        -- in a CASE, as below: conditions are tested in any order, and the functions fail for objects of another kind
        AND CASE WHEN p.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
            THEN has_any_column_privilege(c.oid, p.name) ELSE has_table_privilege(c.oid, p.name) END
        AND c.oid NOT IN (SELECT objid FROM of_extensions)
    GROUP BY c.oid, g.oid
    UNION ALL
    SELECT format('may use the sequence %%s', c.oid::regclass) FROM pg_class AS c
    WHERE CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE') ELSE false END
        AND c.oid NOT IN (SELECT objid FROM of_extensions)
    UNION ALL
    SELECT format('may create things in the schema %%I', n.nspname) FROM pg_namespace AS n
    WHERE has_schema_privilege(n.oid, 'CREATE')
    UNION ALL
    SELECT format('may create %%s', p.what)
    FROM (VALUES ('CREATE', 'schemas'), ('TEMPORARY', 'temporary tables')) AS p (privilege, what)
    WHERE has_database_privilege(current_database(), p.privilege)
    UNION ALL
    SELECT format('may call %%s, which runs as its owner', p.oid::regprocedure) FROM pg_proc AS p
    WHERE p.prosecdef AND NOT (%(functions)s AND p.pronamespace = to_regnamespace('carillon_runner'))
        AND has_function_privilege(p.oid, 'EXECUTE') AND p.oid NOT IN (SELECT objid FROM of_extensions)
"""
# a share of them, so that a login with the role cannot shut the operator and the API out
_LIMIT: LiteralString = "SELECT greatest(setting::int / %s, 2) FROM pg_settings WHERE name = 'max_connections'"
# what makes large objects, which no table's privileges bound
_LARGE_OBJECTS: LiteralString = """
    SELECT format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC', string_agg(oid::regprocedure::text, ', ')) FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege(%(role)s::text, oid, 'EXECUTE')
        AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_truncate', 'lo_truncate64',
                        'lowrite')
    HAVING count(*) > 0
"""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LoginRole:
    """The purpose of a role, and its privileges."""

    variable: str
    """The variable that holds its URL."""
    whose: str
    """Who logs in with it, as in "a role for … only"."""
    mark: str
    """``RUNNERS`` or ``APIS``; the role of the other is refused."""
    granted: str
    """What it may do, for the report: completes "granted …"."""
    bound: str
    """What it may not do: completes "it cannot …"."""
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Its privileges on the tables of the owner's schema; each includes SELECT."""
    functions: bool = False
    """Whether it may call the functions of the schema ``carillon_runner``."""
    is_shared: bool = False
    """Whether others than we may hold it: its connections are limited, and it makes no large objects if possible."""
    connections_divisor: int = 2
    """A shared role gets the server's ``max_connections`` divided by this."""

    @property
    def _parameters(self) -> dict[str, object]:
        privileges = [", ".join(each) for each in self.tables.values()]
        return {"tables": list(self.tables), "privileges": privileges, "functions": self.functions}

    def statements(self, owner: _Connection, user: str) -> Sequence[str]:
        """Return the SQL that restricts a role of this name, in the order of execution."""
        return [str(line) for (line,) in owner.execute(_BOUNDS, {"role": user, **self._parameters})]

    def is_possible(self, owner: _Connection) -> bool:
        """Return whether the schema has the objects that the role needs."""
        (there,) = owner.execute(_THERE, self._parameters).fetchone() or (False,)
        return bool(there)

    def excess(self, connection: _Connection) -> Sequence[str]:
        """Return the privileges that the connected role has in excess, each as a phrase."""
        return [str(line) for (line,) in connection.execute(_EXCESS, self._parameters)]


@dataclass(frozen=True, slots=True)
class _Login:
    """The user and the password in a role's URL."""

    user: str
    password: str


def prepare(role: LoginRole, owner_url: str, url: str) -> Sequence[str]:
    """Create the role of a URL if it is missing, restrict it, and verify its privileges by logging in as it.

    Another call restores what was changed, including the password. The
    verification is the last step.

    Args:
        role: What it may do.
        owner_url: The URL of the role that owns the tables and may create roles.
        url: A URL with the role's user and password. Its host need not be reachable from here: the role is verified
            at the owner's host.

    Returns:
        What was done, one sentence each, without passwords.

    Raises:
        SettingsError: A URL is invalid; both have the same user; the role belongs to others, or has privileges that
            cannot be revoked here; or the owner lacks a privilege, with the SQL for an administrator.
        UnavailableError: The database is unavailable or not migrated.

    """
    login = _login(role, owner_url, url)
    with _connected(owner_url) as owner:
        # as migrations do: two at once would conflict
        owner.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        if not role.is_possible(owner):
            raise UnavailableError(WHAT, f"its schema is missing or too old: {MIGRATE}")
        done = _made(role, owner, login)
        statements = role.statements(owner, login.user)
        try:
            for statement in statements:
                owner.execute(statement.encode())
        except errors.InsufficientPrivilege as error:
            raise _for_an_administrator(error, statements) from error
        kept = _large_objects(owner, login.user) if role.is_shared else None
    _verify(role, owner_url, login, statements)
    verified = f"verified as {login.user}: it cannot {role.bound}"
    return [
        done,
        f"granted {role.granted}; revoked all other privileges",
        f"{verified}; a claim was made and rolled back" if role.functions else verified,
        *([] if kept is None else [f"it can create large objects, which only a superuser can prevent: {kept}"]),
    ]


def _large_objects(owner: _Connection, user: str) -> str | None:
    """Take the creation of large objects from everybody, if the owner may; return the statement if it may not."""
    (statement,) = owner.execute(_LARGE_OBJECTS, {"role": user}).fetchone() or (None,)
    if statement is None:
        return None
    try:
        with owner.transaction():
            owner.execute(str(statement).encode())
    except errors.InsufficientPrivilege:
        return str(statement)
    # without the right to grant, Postgres warns only
    return None if owner.execute(_LARGE_OBJECTS, {"role": user}).fetchone() is None else str(statement)


def _login(role: LoginRole, owner_url: str, url: str) -> _Login:
    name = role.variable
    owner, _ = credentials(owner_url, OWNER)
    user, password = required_login(url, name)
    if user == owner:
        raise SettingsError(f'{name}: must have a user for {role.whose} only; "{user}" is the user of {OWNER}')
    return _Login(user, password)


def _made(role: LoginRole, owner: _Connection, login: _Login) -> str:
    """Create the role, or check that the existing one has no privileges of its own; return what was done."""
    name = sql.Identifier(login.user)
    # hashed here because the server may log the statement
    password = owner.pgconn.encrypt_password(login.password.encode(), login.user.encode(), b"scram-sha-256").decode()
    found = owner.execute(_ATTRIBUTES, [login.user]).fetchone()
    try:
        with owner.transaction():
            if found is None:
                owner.execute(
                    sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION").format(
                        name
                    )
                )
            else:
                _check_powers(role, login.user, found)
            owner.execute(sql.SQL("ALTER ROLE {} LOGIN NOINHERIT PASSWORD {}").format(name, sql.Literal(password)))
            # what somebody who logs in with it has set: "ALTER ROLE current_user SET …" needs no privilege
            owner.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(name))
            database = sql.Identifier(owner.info.dbname)
            owner.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(name, database))
            if role.is_shared:
                (limit,) = owner.execute(_LIMIT, [role.connections_divisor]).fetchone() or (None,)
                owner.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(name, sql.Literal(limit)))
            for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
                owner.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(TIMEOUT))
                )
    except errors.InsufficientPrivilege as error:
        if found is None:
            create = f"CREATE ROLE {name.as_string(None)} LOGIN NOINHERIT PASSWORD 'the password in {role.variable}'"
            raise _for_an_administrator(error, [create]) from error
        return f"the role {login.user} exists and belongs to an administrator; its password is unchanged"
    return f"created the role {login.user}" if found is None else f"the role {login.user} exists; set its password"


def _check_powers(role: LoginRole, user: str, found: tuple[object, ...]) -> None:
    powers = dict(zip(_POWERS, found, strict=False))
    # a role with its own mark is its own; the other's privileges on it are revoked with the rest
    passed_over = {RUNNERS, APIS} if powers[role.mark] else set[str]()
    held = [power for power, has in powers.items() if has and power not in passed_over]
    if isinstance(groups := found[-1], list):
        held += [f"is a member of {group}" for group in groups]
    if held:
        raise SettingsError(f"{role.variable}: the role {user} {' and '.join(held)}; use a role for {role.whose} only")


def _verify(role: LoginRole, owner_url: str, login: _Login, statements: Sequence[str]) -> None:
    """Log in as the role and check its privileges."""
    try:
        with _connected(owner_url, login) as connection:
            for table in role.tables:
                connection.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(table)))
            excess = role.excess(connection)
        if role.functions:
            with _connected(owner_url, login, session_options()) as connection:
                _claim(role, owner_url, login, connection)
    except (errors.InsufficientPrivilege, errors.UndefinedTable) as error:
        # tables of a schema without USAGE are not found
        ask = f"ask an administrator to run: {_lines(statements)}"
        raise SettingsError(f"{role.variable}: {login.user} lacks a privilege ({_words(error)}); {ask}") from error
    except UnavailableError as error:
        raise SettingsError(f"{role.variable}: {login.user} cannot log in: {error.why}") from error
    if excess:
        more = f", and {len(excess) - _SHOWN} more" if len(excess) > _SHOWN else ""
        what = f"{role.variable}: {login.user} {'; '.join(excess[:_SHOWN])}{more}"
        ask = "revoke it as the role that granted it, or ask an administrator to run"
        raise SettingsError(f"{what}; {ask}: {_lines(statements)}")


def _claim(role: LoginRole, owner_url: str, login: _Login, runner: _Connection) -> None:
    """Claim as runners do, with the settings that their sessions pin."""
    try:
        claimed = try_claim(lambda: _connected(owner_url), runner)
    except errors.InsufficientPrivilege:
        raise
    except psycopg.Error as error:
        raise SettingsError(f"{role.variable}: {login.user} cannot claim an execution: {_words(error)}") from error
    if not claimed:
        raise SettingsError(f"{role.variable}: {login.user} cannot claim an execution: its row was not inserted")


def _for_an_administrator(error: psycopg.Error, statements: Sequence[str]) -> SettingsError:
    return SettingsError(
        f"{OWNER}: its user lacks a privilege ({_words(error)}); ask an administrator to run this, then try again: "
        f"{_lines(statements)}"
    )


def _lines(statements: Sequence[str]) -> str:
    return " ".join(f"{statement};" for statement in statements)


@contextmanager
def _connected(url: str, login: _Login | None = None, options: str = "") -> Iterator[_Connection]:
    """Open a transaction on the database of a URL, as its user or as another one, with more options if given."""
    parsed = sqlalchemy_url(url)
    secrets = {credentials(url)[1], login.password if login else ""} - {""}
    # as SQLAlchemy connects; its text form writes a space in a way that libpq does not read
    _, given = parsed.get_dialect()().create_connect_args(parsed)
    if login is not None:
        given.update(user=login.user, password=login.password)
    if options:
        given["options"] = f"{given.get('options', '')} {options}".strip()
    conninfo = make_conninfo("", **given)
    try:
        with psycopg.connect(conninfo, **connect_args()) as connection:
            yield connection
    except psycopg.OperationalError as error:
        words = _words(error)
        for secret in secrets:
            words = words.replace(secret, "***")
        raise UnavailableError(WHAT, words) from error


def _words(error: psycopg.Error) -> str:
    return error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
