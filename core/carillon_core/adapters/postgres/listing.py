"""The statements that read the history, each served by an index; ``history`` executes them, and tests explain them."""

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

from carillon_core.adapters.postgres.tables import FAILED, executions
from carillon_core.contract import OPEN_STATUSES, UNLAUNCHED_STATUSES, Cause, ExecutionStatus
from carillon_core.domain.execution import REPEATS_EARLIER, earliest_repeat
from carillon_core.ports import ExecutionQuery

_columns = executions.c
_made = executions.alias("made")  # once: an alias of a table makes all its columns anew

FIRST = datetime(1, 1, 1, tzinfo=UTC)
"""The earliest time there is."""

IN_ORDER = "BEGIN; " + "; ".join(f"SET LOCAL enable_{way} = off" for way in ("sort", "bitmapscan", "seqscan"))
"""Begins a transaction whose statements read rows in the order of an index, as far as one has it. A planner that
expects few rows would collect them all and sort them, and of a month that has no statistics yet it expects anything.
In one piece, and so in one round trip."""

RECENT = timedelta(days=62)
"""What is read first of a history that is asked for from its newest end. Postgres plans for each month that a statement
may have to look at, which takes longer than to read a page: most pages are full before the months of old are needed."""
MONTHS = sql_text(
    "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = 'executions'::regclass AND relname <> 'executions_default'"
)
"""How many months have a partition of their own."""


def windows(query: ExecutionQuery, after: tuple[datetime, UUID] | None, now: datetime) -> list[ExecutionQuery]:
    """Split what a query asks for into the newest part and the rest, to be read in this order.

    Args:
        query: What is asked for.
        after: Where the page before it ended.
        now: What time it is.

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

    It has one row more than asked, to know whether another page follows.
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
    """Return the query of a page to which these parameters are given; ``dead_letters`` has none.

    Made once, for SQLAlchemy takes as long to put one together as to fetch what it asks for.
    """
    wanted: list[ColumnElement[bool]] = [_columns[name] == bindparam(name) for name in _EQUAL if name in given]
    # of a small vocabulary, and so literals: they tell which partial index fits, whatever becomes of the parameters
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
        # as a row, not as "slot < … or (slot = … and id < …)": only this Postgres looks up in the index; and the slot
        # alone once more, for only that leaves out the partitions of later months
        slot, uid = bindparam("after_slot", type_=_columns.slot.type), bindparam("after_id", type_=_columns.id.type)
        wanted += [tuple_(_columns.slot, _columns.id) < tuple_(slot, uid), _columns.slot <= slot]
    page = select(executions).where(*wanted).order_by(_columns.slot.desc(), _columns.id.desc())
    return page.limit(bindparam("rows", type_=Integer))


def get_statements(uid: UUID, now: datetime) -> list[Select[Any]]:
    """Return the queries of one execution, to be tried in this order: of what is recent, and of what is older."""
    one = select(executions).where(_columns.id == uid)
    edge = now - RECENT
    return [one.where(_columns.slot >= edge), one.where(_columns.slot < edge)]


def open_statement() -> Select[Any]:
    """Return the query of the open executions; the status as a literal, or the partial index is not seen to fit."""
    return select(executions).where(is_open()).order_by(_columns.slot, _columns.id)


def count_statement(since: datetime, namespaces: tuple[str, ...]) -> Select[Any]:
    """Return the query that counts by status what has a slot at or after ``since``, from an index alone."""
    statement = select(_columns.status, func.count()).where(_columns.slot >= since).group_by(_columns.status)
    return _of(statement, namespaces)


def running_statement(namespaces: tuple[str, ...]) -> Select[Any]:
    """Return the query that counts what runs."""
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
    """Return what picks the open executions, as literals."""
    return sql_text("executions.status IN ({})".format(", ".join(f"'{status}'" for status in sorted(OPEN_STATUSES))))


def _of(statement: Select[Any], namespaces: tuple[str, ...]) -> Select[Any]:
    return statement.where(_in(namespaces)) if namespaces else statement


def _in(namespaces: tuple[str, ...]) -> ColumnElement[bool]:
    if len(namespaces) == 1:  # as an equation, which every index that begins with it serves in its order
        return _columns.namespace == namespaces[0]
    # a page of several reads the rows of others between theirs: few, where the database is theirs
    return _columns.namespace == any_(literal(list(namespaces), ARRAY(Text)))


def _is_dead_letter(earliest: datetime | BindParameter[datetime] | None) -> ColumnElement[bool]:
    """Return what picks the executions that failed and that nobody has repeated since ``earliest``."""
    # OFFSET 0 keeps it a look-up by retry_of for each row that is read; as an anti-join all repeats there are might be
    # read first, and with the rest beside it another index might seem to serve
    wanted = select(_made.c.namespace, _made.c.status).where(_made.c.retry_of == _columns.id)
    # the months before are not looked at, and with a constant not even planned for
    wanted = wanted.where(_made.c.slot >= _columns.slot - REPEATS_EARLIER)
    if earliest is not None:
        wanted = wanted.where(_made.c.slot >= earliest)
    repeats = wanted.offset(0).correlate(executions).subquery("repeats")
    never_ran = repeats.c.status.in_([literal_column(f"'{status}'") for status in sorted(UNLAUNCHED_STATUSES)])
    repeat = select(repeats.c.status).where(repeats.c.namespace == _columns.namespace, ~never_ran)
    return and_(sql_text(f"executions.{FAILED}"), ~repeat.correlate(executions).exists())
