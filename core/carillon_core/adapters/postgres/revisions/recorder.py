"""The port ``RevisionRecorder`` on Postgres; the operator creates one."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Uuid, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.history_rows import storable_json
from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import task_revisions
from carillon_core.adapters.revision_rows import storable_revision
from carillon_core.domain.why.revision import MOST_REVISIONS, TaskRevision
from carillon_core.ports import RevisionId

FRESH = timedelta(minutes=1)
"""A revision that was confirmed within this time is not written again: restarts may follow one another."""

_columns = task_revisions.c
_asked = (
    func.unnest(bindparam("uids", type_=ARRAY(Uuid)), bindparam("generations", type_=ARRAY(BigInteger)))
    .table_valued("uid", "generation")
    .render_derived(name="asked")
)
_same = (_columns.task_uid == _asked.c.uid) & (_columns.generation == _asked.c.generation)
_CONFIRM = update(task_revisions).where(_same, _columns.last_seen_at < bindparam("before"))
_CONFIRM = _CONFIRM.values(last_seen_at=bindparam("now"))
_KNOWN = select(_columns.task_uid, _columns.generation).select_from(_asked).join(task_revisions, _same)
# of each name, all rows but the newest; the index finds the rows of a name, of which there are never many
_PRUNE = text(
    "DELETE FROM task_revisions WHERE (task_uid, generation) IN ("
    "SELECT old.task_uid, old.generation FROM unnest(cast(:namespaces AS text[]), cast(:tasks AS text[]))"
    " AS one (namespace, task) CROSS JOIN LATERAL ("
    "SELECT task_uid, generation FROM task_revisions AS r WHERE (r.namespace, r.task) = (one.namespace, one.task)"
    " ORDER BY seen_at DESC, task_uid DESC, generation DESC OFFSET :most) AS old)"
)


class PostgresRevisions:
    """``RevisionRecorder`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str) -> "PostgresRevisions":
        """Return a recorder with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=1))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def confirm(self, revisions: Collection[RevisionId], now: datetime) -> Collection[RevisionId]:
        """Note that tasks have these generations now; return those that are recorded."""
        ids = sorted((UUID(uid), generation) for uid, generation in revisions)
        asked = {"uids": [uid for uid, _ in ids], "generations": [generation for _, generation in ids]}
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(_CONFIRM, {**asked, "now": now, "before": now - FRESH})
            rows = (await connection.execute(_KNOWN, asked)).all()
        return [(str(row.task_uid), row.generation) for row in rows]

    async def record(self, revisions: Sequence[TaskRevision]) -> None:
        """Insert revisions; existing ones stay unchanged. Of one name's, the newest are kept."""
        if not revisions:
            return
        # always in the same order: two writers of the same rows could deadlock otherwise
        ready = sorted(map(storable_revision, revisions), key=lambda each: (each.task_uid, each.generation))
        names = sorted({(each.namespace, each.task) for each in ready})
        named = {"namespaces": [each[0] for each in names], "tasks": [each[1] for each in names]}
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(insert(task_revisions).on_conflict_do_nothing(), [_values(each) for each in ready])
            await connection.execute(_PRUNE, {**named, "most": MOST_REVISIONS})


def _values(revision: TaskRevision) -> dict[str, Any]:
    rules = None if revision.rules is None else storable_json(revision.rules.model_dump(mode="json", exclude_none=True))
    own = {each.name: getattr(revision, each.name) for each in fields(revision)}  # asdict would copy the spec
    return {**own, "task_uid": UUID(revision.task_uid), "rules": rules}
