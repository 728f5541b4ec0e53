"""The statements that read the history, each served by an index; ``history`` executes them, and tests explain them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    TextClause,
    and_,
    any_,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy import text as sql_text

from carillon_core.adapters.postgres.tables import FAILED, executions
from carillon_core.contract import OPEN_STATUSES, UNLAUNCHED_STATUSES
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


def list_statement(query: ExecutionQuery, after: tuple[datetime, UUID] | None) -> Select[Any]:
    """Return the query of a page, for use after ``IN_ORDER``.

    It has one row more than asked, to know whether another page follows.
    """
    wanted = [
        _columns[name] == asked
        for name in ("namespace", "task", "reason", "retry_of")
        if (asked := getattr(query, name)) is not None
    ]
    # of a small vocabulary, and so literals: they tell which partial index fits, whatever becomes of the parameters
    wanted += [
        _columns[name] == literal_column(f"'{asked}'")
        for name in ("status", "cause")
        if (asked := getattr(query, name)) is not None
    ]
    if query.namespaces:
        wanted.append(_in(query.namespaces))
    if query.dead_letters:
        wanted.append(_is_dead_letter(query.since))
    if query.since is not None:
        wanted.append(_columns.slot >= query.since)
    if query.until is not None:
        wanted.append(_columns.slot < query.until)
    if after is not None:
        # as a row, not as "slot < … or (slot = … and id < …)": only this Postgres looks up in the index; and the slot
        # alone once more, for only that leaves out the partitions of later months
        wanted += [tuple_(_columns.slot, _columns.id) < tuple_(*after), _columns.slot <= after[0]]
    return select(executions).where(*wanted).order_by(_columns.slot.desc(), _columns.id.desc()).limit(query.limit + 1)


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
    dead = select(func.count()).select_from(executions).where(_columns.slot >= since, _is_dead_letter(since))
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


def _is_dead_letter(since: datetime | None) -> ColumnElement[bool]:
    """Return what picks the executions that failed and that nobody has repeated, of slots at or after ``since``."""
    # OFFSET 0 keeps it a look-up by retry_of for each row that is read; as an anti-join all repeats there are might be
    # read first, and with the rest beside it another index might seem to serve
    wanted = select(_made.c.namespace, _made.c.status).where(_made.c.retry_of == _columns.id)
    # the months before are not looked at, and with a constant not even planned for
    wanted = wanted.where(_made.c.slot >= _columns.slot - REPEATS_EARLIER)
    if since is not None:
        wanted = wanted.where(_made.c.slot >= earliest_repeat(since))
    repeats = wanted.offset(0).correlate(executions).subquery("repeats")
    never_ran = repeats.c.status.in_([literal_column(f"'{status}'") for status in sorted(UNLAUNCHED_STATUSES)])
    repeat = select(repeats.c.status).where(repeats.c.namespace == _columns.namespace, ~never_ran)
    return and_(sql_text(f"executions.{FAILED}"), ~repeat.correlate(executions).exists())
