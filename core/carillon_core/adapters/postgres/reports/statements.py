"""The statements of the reports. Each reads the newest rows of a range from an index; tests explain them.

They run after ``listing.IN_ORDER``, so that the planner stops at the limit and does not sort the range first.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Double,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    any_,
    case,
    cast,
    extract,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
)

from carillon_core.adapters.postgres.tables import executions
from carillon_core.contract import Cause
from carillon_core.ports import MOST_COUNTED, MOST_SAMPLED, ReportQuery

_columns = executions.c
_MARK = ("id", "namespace", "task", "slot", "first_slot", "cause", "status", "reason", "started_at", "finished_at")
_FRACTIONS: ColumnElement[Any] = literal_column("ARRAY[0.5, 0.95, 0.99]::double precision[]")


def marks_statement(query: ReportQuery, limit: int) -> Select[Any]:
    """Return the query for the newest executions of a range, without results and messages."""
    return _newest(query, limit, *(_columns[name] for name in _MARK))


def statistics_statement(query: ReportQuery) -> Select[Any]:
    """Return the query for counts by status and percentiles.

    A row for each status has its count; one with the status null has the count of all, and the percentiles.
    """
    names = ("status", "cause", "slot", "started_at", "finished_at")
    rows = _rows(query, MOST_COUNTED, *(_columns[name] for name in names))
    of = rows.c
    # aggregates ignore null, which these are without a start, or without an end
    duration = _seconds(of.finished_at - of.started_at)
    scheduled = of.cause == literal_column(f"'{Cause.SCHEDULE}'")
    latency = case((and_(scheduled, of.started_at.is_not(None)), func.greatest(_seconds(of.started_at - of.slot), 0)))
    return select(
        of.status,
        func.count().label("number"),
        func.percentile_cont(_FRACTIONS).within_group(duration).label("durations"),
        func.percentile_cont(_FRACTIONS).within_group(cast(latency, Double)).label("latencies"),
    ).group_by(func.grouping_sets(tuple_(of.status), tuple_()))


def buckets_statement(query: ReportQuery, seconds: int) -> Select[Any]:
    """Return the query that counts executions by bucket and status, from an index only."""
    rows = _rows(query, MOST_COUNTED, _columns.slot, _columns.status)
    elapsed = _seconds(rows.c.slot - literal(query.since, _columns.slot.type))
    bucket = cast(func.floor(elapsed / seconds), Integer).label("bucket")
    # by position: the expression would have other parameters in the second place
    return select(bucket, rows.c.status, func.count().label("number")).group_by(text("1, 2")).order_by(text("1, 2"))


def means_statement(query: ReportQuery) -> Select[Any]:
    """Return the query for the mean duration of each task that has ended executions."""
    names = ("namespace", "task", "started_at", "finished_at")
    rows = _rows(query, MOST_SAMPLED, *(_columns[name] for name in names))
    of = rows.c
    mean = func.avg(_seconds(of.finished_at - of.started_at)).label("mean")
    ended = and_(of.started_at.is_not(None), of.finished_at.is_not(None))
    return select(of.namespace, of.task, mean).where(ended).group_by(of.namespace, of.task)


def _newest(query: ReportQuery, limit: int, *columns: Column[Any]) -> Select[Any]:
    wanted: list[ColumnElement[bool]] = [_columns.slot >= query.since, _columns.slot < query.until]
    if query.namespace is not None:
        wanted.append(_columns.namespace == query.namespace)
    if len(query.namespaces) == 1:  # an equation, for which an index that begins with it returns rows in order
        wanted.append(_columns.namespace == query.namespaces[0])
    elif query.namespaces:
        wanted.append(_columns.namespace == any_(literal(list(query.namespaces), ARRAY(Text))))
    if query.task is not None:
        wanted.append(_columns.task == query.task)
    return select(*columns).where(*wanted).order_by(_columns.slot.desc(), _columns.id.desc()).limit(limit)


def _rows(query: ReportQuery, limit: int, *columns: Column[Any]) -> Subquery:
    return _newest(query, limit, *columns).subquery("newest")


def _seconds(interval: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(extract("epoch", interval), Double)
