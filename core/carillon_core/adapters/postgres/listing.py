"""The statements that read the history, each backed by an index; ``history`` runs them, and tests explain them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    TextClause,
    and_,
    any_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy import text as sql_text

from carillon_core.adapters.postgres.tables import FAILED, RECORD, executions
from carillon_core.contract import OPEN_STATUSES, UNLAUNCHED_STATUSES, Cause, ExecutionStatus
from carillon_core.domain.execution import REPEATS_EARLIER, earliest_repeat
from carillon_core.ports import ExecutionQuery

_columns = executions.c
_made = executions.alias("made")  # once, because an alias copies all columns

FIRST = datetime(1, 1, 1, tzinfo=UTC)
"""The earliest ``datetime``."""

IN_ORDER = "BEGIN; " + "; ".join(f"SET LOCAL enable_{way} = off" for way in ("sort", "bitmapscan", "seqscan"))
"""Begins a transaction whose statements read rows in index order where possible. A planner that expects few rows would
fetch and sort them all, and without statistics of a new month its estimate is arbitrary. One statement, one round
trip."""

RECENT = timedelta(days=62)
"""The newest part of the history, which is read first. Postgres plans for each month that a statement may read, which
takes longer than reading a page, and most pages are full before older months are needed."""
MONTHS = sql_text(
    "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = 'executions'::regclass AND relname <> 'executions_default'"
)
"""Counts the months that have a partition."""


def windows(query: ExecutionQuery, after: tuple[datetime, UUID] | None, now: datetime) -> list[ExecutionQuery]:
    """Split a query into its newest part and the rest, to be read in this order.

    Args:
        query: The query.
        after: The last row of the previous page.
        now: The current time.

    """
    bounds = (query.until, None if after is None else after[0])
    newest = min([now, *(bound for bound in bounds if bound is not None)])
    if newest - FIRST < RECENT:
        return [query]
    edge = newest - RECENT
    if query.since is not None and query.since >= edge:
        return [query]
    return [replace(query, since=edge), replace(query, until=edge)]


def list_statement(query: ExecutionQuery, after: tuple[datetime, UUID] | None) -> tuple[Select[Any], dict[str, object]]:
    """Return the query of a page with its parameters, for use after ``IN_ORDER``.

    It returns one more row, which tells whether another page follows.
    """
    since = query.since
    values: dict[str, object] = {
        **{name: getattr(query, name) for name in _EQUAL},
        "one_namespace": query.namespaces[0] if len(query.namespaces) == 1 else None,
        "namespaces": list(query.namespaces) if len(query.namespaces) > 1 else None,
        "since": since,
        "until": query.until,
        "earliest": earliest_repeat(since) if query.dead_letters and since is not None else None,
        "after_slot": None if after is None else after[0],
        "after_id": None if after is None else after[1],
        "rows": query.limit + 1,
    }
    given = {name: value for name, value in values.items() if value is not None}
    shape = {*given, *(("dead_letters",) if query.dead_letters else ())}
    return _page_statement(frozenset(shape), query.status, query.cause), given


_EQUAL = ("namespace", "task", "reason", "retry_of")


@lru_cache(maxsize=512)
def _page_statement(given: frozenset[str], status: ExecutionStatus | None, cause: Cause | None) -> Select[Any]:
    """Return the query of a page for these parameters; ``dead_letters`` has no value.

    Cached because SQLAlchemy takes as long to build a query as to fetch its rows.
    """
    wanted: list[ColumnElement[bool]] = [_columns[name] == bindparam(name) for name in _EQUAL if name in given]
    # few possible values, and so literals: the planner can then choose a partial index
    wanted += [
        _columns[name] == literal_column(f"'{asked}'")
        for name, asked in (("status", status), ("cause", cause))
        if asked is not None
    ]
    if "one_namespace" in given:
        wanted.append(_columns.namespace == bindparam("one_namespace"))
    if "namespaces" in given:
        wanted.append(_columns.namespace == any_(bindparam("namespaces", type_=ARRAY(Text))))
    if "dead_letters" in given:
        wanted.append(_is_dead_letter(bindparam("earliest") if "earliest" in given else None))
    if "since" in given:
        wanted.append(_columns.slot >= bindparam("since"))
    if "until" in given:
        wanted.append(_columns.slot < bindparam("until"))
    if "after_slot" in given:
        # a row comparison: Postgres does not use the index for "slot < … or (slot = … and id < …)". The slot is also
        # compared separately, because only that excludes the partitions of later months
        slot, uid = bindparam("after_slot", type_=_columns.slot.type), bindparam("after_id", type_=_columns.id.type)
        wanted += [tuple_(_columns.slot, _columns.id) < tuple_(slot, uid), _columns.slot <= slot]
    page = select(*RECORD).where(*wanted).order_by(_columns.slot.desc(), _columns.id.desc())
    return page.limit(bindparam("rows", type_=Integer))


def get_statements(uid: UUID, now: datetime) -> list[Select[Any]]:
    """Return the queries for one execution, to be tried in this order: recent months, then older ones."""
    one = select(*RECORD).where(_columns.id == uid)
    edge = now - RECENT
    return [one.where(_columns.slot >= edge), one.where(_columns.slot < edge)]


def open_statement() -> Select[Any]:
    """Return the query for open executions; the status is a literal so that the partial index is used."""
    return select(*RECORD).where(is_open()).order_by(_columns.slot, _columns.id)


def count_statement(since: datetime, namespaces: tuple[str, ...]) -> Select[Any]:
    """Return the query that counts executions by status from ``since`` on, from an index only."""
    statement = select(_columns.status, func.count()).where(_columns.slot >= since).group_by(_columns.status)
    return _of(statement, namespaces)


def running_statement(namespaces: tuple[str, ...]) -> Select[Any]:
    """Return the query that counts running executions."""
    return _of(select(func.count()).select_from(executions).where(is_open()), namespaces)


def dead_letters_statement(since: datetime, namespaces: tuple[str, ...]) -> Select[Any]:
    """Return the query that counts the dead letters with a slot at or after ``since``."""
    dead = (
        select(func.count())
        .select_from(executions)
        .where(_columns.slot >= since, _is_dead_letter(earliest_repeat(since)))
    )
    return _of(dead, namespaces)


def is_open() -> TextClause:
    """Return the condition for open executions, with literals."""
    return sql_text("executions.status IN ({})".format(", ".join(f"'{status}'" for status in sorted(OPEN_STATUSES))))


def _of(statement: Select[Any], namespaces: tuple[str, ...]) -> Select[Any]:
    return statement.where(_in(namespaces)) if namespaces else statement


def _in(namespaces: tuple[str, ...]) -> ColumnElement[bool]:
    if len(namespaces) == 1:  # an equation, for which every index that begins with it returns rows in order
        return _columns.namespace == namespaces[0]
    # reads rows of other namespaces in between: few if the database serves these namespaces only
    return _columns.namespace == any_(literal(list(namespaces), ARRAY(Text)))


def _is_dead_letter(earliest: datetime | BindParameter[datetime] | None) -> ColumnElement[bool]:
    """Return the condition for failed executions that have not been repeated since ``earliest``."""
    # OFFSET 0 keeps this a look-up by retry_of per row; as an anti-join, Postgres might read all repeats first, or
    # choose another index
    wanted = select(_made.c.namespace, _made.c.status).where(_made.c.retry_of == _columns.id)
    # earlier months are not read, and with a constant not even planned
    wanted = wanted.where(_made.c.slot >= _columns.slot - REPEATS_EARLIER)
    if earliest is not None:
        wanted = wanted.where(_made.c.slot >= earliest)
    repeats = wanted.offset(0).correlate(executions).subquery("repeats")
    never_ran = repeats.c.status.in_([literal_column(f"'{status}'") for status in sorted(UNLAUNCHED_STATUSES)])
    repeat = select(repeats.c.status).where(repeats.c.namespace == _columns.namespace, ~never_ran)
    return and_(sql_text(f"executions.{FAILED}"), ~repeat.correlate(executions).exists())
