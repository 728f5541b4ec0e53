"""The port ``TaskPast`` on Postgres; the API creates one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.listing import IN_ORDER
from carillon_core.adapters.postgres.tables import RECORD, executions, task_revisions
from carillon_core.adapters.revision_rows import check_limit, cursor_of, place_of
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.why.revision import MOST_REVISIONS, Rules, TaskRevision
from carillon_core.ports import MOST_NEAR, RevisionPage, RevisionQuery

POOL_SIZE = 2
UNREADABLE = "this release cannot read it"
"""The problem of a spec that a later release has recorded."""

_columns = task_revisions.c
_runs = executions.c
_SMALL = [column for column in _columns if column.name != "spec"]
_SHOWN = [column for column in RECORD if column.name not in {"result", "origin", "retry_of"}]


class PostgresPast:
    """``TaskPast`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def from_url(cls, url: str, *, connect_seconds: int = 5) -> "PostgresPast":
        """Return a past with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=POOL_SIZE, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def revisions(self, query: RevisionQuery) -> RevisionPage:
        """Return a page of revisions, newest first."""
        check_limit(query)
        statement = _of(select(task_revisions), query.namespace, query.task).limit(query.limit + 1)
        if query.cursor is not None:
            place = tuple_(_columns.seen_at, _columns.task_uid, _columns.generation)
            statement = statement.where(place < tuple_(*place_of(query.cursor)))
        async with bounded(self._engine.url), self._engine.connect() as connection:
            rows = (await connection.execute(statement)).all()
        page = [_revision(row) for row in rows[: query.limit]]
        return RevisionPage(page, cursor_of(page[-1]) if len(rows) > query.limit else None)

    async def rules(self, namespace: str, task: str) -> Sequence[TaskRevision]:
        """Return all revisions of the tasks with a name, newest first, without their specs."""
        statement = _of(select(*_SMALL), namespace, task).limit(MOST_REVISIONS)
        async with bounded(self._engine.url), self._engine.connect() as connection:
            return [_revision(row) for row in (await connection.execute(statement)).all()]

    async def row_of(self, namespace: str, task: str, slot: datetime) -> ExecutionRecord | None:
        """Return the row of a slot, or the one that covers it."""
        async with bounded(self._engine.url), self._engine.connect() as connection:
            await connection.exec_driver_sql(IN_ORDER)
            row = (await connection.execute(near_statement(namespace, task, slot))).first()
        return None if row is None else _execution(row)


def near_statement(namespace: str, task: str, slot: datetime) -> Select[Any]:
    """Return the query for the row that covers a slot, which reads at most ``MOST_NEAR`` rows of an index's order."""
    near = (
        select(*_SHOWN)
        .where(_runs.namespace == namespace, _runs.task == task, _runs.slot >= slot)
        .order_by(_runs.slot, _runs.id)
        .limit(MOST_NEAR)
        .subquery("near")
    )
    covers = (near.c.slot == slot) | (near.c.first_slot <= slot)
    return select(near).where(near.c.cause == Cause.SCHEDULE.value, covers).order_by(near.c.slot, near.c.id).limit(1)


def _of(statement: Select[Any], namespace: str, task: str) -> Select[Any]:
    newest = _columns.seen_at.desc(), _columns.task_uid.desc(), _columns.generation.desc()
    return statement.where(_columns.namespace == namespace, _columns.task == task).order_by(*newest)


def _revision(row: Row[Any]) -> TaskRevision:
    rules, problem = None, row.problem
    if row.rules is not None:
        try:
            rules = Rules.model_validate(row.rules, extra="ignore")
        except ValidationError:
            problem = UNREADABLE
    return TaskRevision(
        namespace=row.namespace,
        task=row.task,
        task_uid=str(row.task_uid),
        generation=row.generation,
        created_at=row.created_at.astimezone(UTC),
        seen_at=row.seen_at.astimezone(UTC),
        last_seen_at=row.last_seen_at.astimezone(UTC),
        rules=rules,
        problem=problem,
        spec=getattr(row, "spec", None),
        manager=row.manager,
    )


def _execution(row: Row[Any]) -> ExecutionRecord:
    stored = dict(row._mapping)  # noqa: SLF001  # public in spite of its name: SQLAlchemy's way to a mapping
    for name in ("slot", "first_slot", "created_at", "started_at", "finished_at"):
        stored[name] = stored[name] and stored[name].astimezone(UTC)
    uid: UUID = stored["task_uid"]
    return ExecutionRecord(
        **{**stored, "task_uid": str(uid), "cause": Cause(row.cause), "status": ExecutionStatus(row.status)}
    )
