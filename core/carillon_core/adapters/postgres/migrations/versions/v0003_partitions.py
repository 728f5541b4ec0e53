"""Partitions executions and attempts by month; adds ``retry_of`` and the state of the maintenance.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATUSES = "status IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped', 'missed')"
_EXECUTIONS = (
    "id, task_uid, namespace, task, task_type, slot, cause, status, reason, message, job_name, pod_name, created_at,"
    " started_at, finished_at, result, error, origin, first_slot"
)
_ATTEMPTS = "execution_id, number, status, reason, error, pod_name, started_at, finished_at"
_AHEAD = 3
"""The number of months after the current one that get a partition now, so that none is missing before the first
maintenance."""

_Indexes = dict[str, tuple[tuple[str, ...], str | None]]
_OLD_INDEXES: _Indexes = {
    "executions_by_slot": (("slot", "id"), None),
    "executions_by_namespace": (("namespace", "slot", "id"), None),
    "executions_by_task": (("namespace", "task", "slot", "id"), None),
    "executions_by_task_uid": (("task_uid", "slot", "id"), None),
    "executions_by_status": (("status", "slot", "id"), None),
    "executions_open": (("slot", "id"), "status = 'running'"),
}
_NEW_INDEXES: _Indexes = {
    "executions_by_slot": (("slot", "id", "status"), None),
    "executions_by_namespace": (("namespace", "slot", "id", "status"), None),
    "executions_by_task": (("namespace", "task", "slot", "id", "status"), None),
    "executions_by_task_name": (("task", "slot", "id", "status"), None),
    "executions_by_status": (
        ("status", "slot", "id", "namespace", "task", "cause", "reason"),
        "status NOT IN ('running', 'succeeded')",
    ),
    "executions_by_reason": (("reason", "slot", "id", "namespace", "task", "cause", "status"), "reason IS NOT NULL"),
    "executions_manual": (("slot", "id", "namespace", "task", "status", "reason"), "cause = 'manual'"),
    "executions_failed": (("slot", "id", "namespace", "task", "cause", "reason"), "status IN ('failed', 'timed_out')"),
    "executions_open": (("slot", "id"), "status = 'running'"),
    "executions_retry_of": (("retry_of", "slot", "id"), "retry_of IS NOT NULL"),
}


def upgrade() -> None:
    """Partition both tables by month; all rows are kept, and attempts get the slot of their execution."""
    _set_aside("0002", _OLD_INDEXES)
    _create_executions("id", "slot")
    _create_attempts("execution_id", "number", "slot")
    for name, (columns, where) in _NEW_INDEXES.items():
        op.create_index(name, "executions", list(columns), postgresql_where=where and sa.text(where))
    for year, month in sorted({*_months_of("executions_0002"), *_months_around(datetime.now(UTC))}):
        last = f"{year + month // 12:04d}-{month % 12 + 1:02d}"
        _attach(f"{year:04d}_{month:02d}", f"FOR VALUES FROM ('{year:04d}-{month:02d}-01Z') TO ('{last}-01Z')")
    _attach("default", "DEFAULT")
    op.execute(f"INSERT INTO executions ({_EXECUTIONS}) SELECT {_EXECUTIONS} FROM executions_0002")  # noqa: S608  # ours
    op.execute(
        f"INSERT INTO attempts ({_ATTEMPTS}, slot)"  # noqa: S608  # the columns are defined above
        f" SELECT {', '.join(f'a.{name}' for name in _ATTEMPTS.split(', '))}, e.slot"
        " FROM attempts_0002 AS a JOIN executions_0002 AS e ON e.id = a.execution_id"
    )
    op.drop_table("attempts_0002")
    op.drop_table("executions_0002")
    op.create_table(
        "maintenance",
        sa.Column("tried_at", sa.DateTime(timezone=True)),
        sa.Column("succeeded_at", sa.DateTime(timezone=True)),
        sa.Column("seconds", sa.Double),
        sa.Column("changes", JSONB),
        sa.Column("error", sa.Text),
        sa.Column("id", sa.SmallInteger, nullable=False, server_default=sa.text("1"), autoincrement=False),
        sa.PrimaryKeyConstraint("id", name="maintenance_pkey"),
        sa.CheckConstraint("id = 1", name="maintenance_one_row"),
    )
    op.execute("INSERT INTO maintenance DEFAULT VALUES")


def downgrade() -> None:
    """Undo the partitioning; ``retry_of`` is lost."""
    op.drop_table("maintenance")
    _set_aside("0003", _NEW_INDEXES)
    _create_executions("id")
    _create_attempts("execution_id", "number")
    for name, (columns, where) in _OLD_INDEXES.items():
        op.create_index(name, "executions", list(columns), postgresql_where=where and sa.text(where))
    # an id has one slot, because it is derived from it; a row written by others must not make the downgrade fail
    op.execute(
        f"INSERT INTO executions ({_EXECUTIONS}) SELECT {_EXECUTIONS} FROM executions_0003 ORDER BY slot"  # noqa: S608  # ours
        " ON CONFLICT DO NOTHING"
    )
    op.execute(
        f"INSERT INTO attempts ({_ATTEMPTS}) SELECT {_ATTEMPTS} FROM attempts_0003"  # noqa: S608  # they are defined above
        " WHERE execution_id IN (SELECT id FROM executions) ORDER BY slot ON CONFLICT DO NOTHING"
    )
    op.drop_table("attempts_0003")
    op.drop_table("executions_0003")


def _set_aside(suffix: str, indexes: _Indexes) -> None:
    """Rename both tables, and everything else whose name the new ones need."""
    for name in ("executions_pkey", "executions_slot_once", "attempts_pkey", *indexes):
        op.execute(f"ALTER INDEX {name} RENAME TO {name}_{suffix}")
    op.execute(f"ALTER STATISTICS executions_of_task RENAME TO executions_of_task_{suffix}")
    op.rename_table("executions", f"executions_{suffix}")
    op.rename_table("attempts", f"attempts_{suffix}")


def _create_executions(*key: str) -> None:
    """Create the table without its indexes, partitioned by month if its key has the slot."""
    time = sa.DateTime(timezone=True)
    by_month = "slot" in key
    op.create_table(
        "executions",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("task_uid", sa.Uuid, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("slot", time, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("job_name", sa.Text),
        sa.Column("pod_name", sa.Text),
        sa.Column("created_at", time, nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", time),
        sa.Column("finished_at", time),
        sa.Column("result", JSONB),
        sa.Column("error", sa.Text),
        sa.Column("origin", sa.Uuid, nullable=False),
        sa.Column("first_slot", time),
        *([sa.Column("retry_of", sa.Uuid)] if by_month else []),
        sa.PrimaryKeyConstraint(*key, name="executions_pkey"),
        sa.UniqueConstraint("origin", "slot", "cause", name="executions_slot_once"),
        sa.CheckConstraint(_STATUSES, name="executions_status_known"),
        sa.CheckConstraint("status = 'running' OR finished_at IS NOT NULL", name="executions_ended_has_end"),
        sa.CheckConstraint(
            "status <> 'running' OR (started_at IS NOT NULL AND finished_at IS NULL)",
            name="executions_running_has_start",
        ),
        sa.CheckConstraint("first_slot <= slot", name="executions_first_slot_first"),
        postgresql_partition_by="RANGE (slot)" if by_month else None,
    )
    op.execute("CREATE STATISTICS executions_of_task (dependencies) ON namespace, task FROM executions")


def _create_attempts(*key: str) -> None:
    """Create the table, partitioned by month if its key has the slot; then each partition has its own foreign key."""
    time = sa.DateTime(timezone=True)
    by_month = "slot" in key
    whose = sa.ForeignKeyConstraint(
        ["execution_id"], ["executions.id"], name="attempts_of_execution", ondelete="CASCADE"
    )
    op.create_table(
        "attempts",
        sa.Column("execution_id", sa.Uuid, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("pod_name", sa.Text),
        sa.Column("started_at", time),
        sa.Column("finished_at", time),
        *([sa.Column("slot", time, nullable=False)] if by_month else [whose]),
        sa.PrimaryKeyConstraint(*key, name="attempts_pkey"),
        sa.CheckConstraint("number >= 1", name="attempts_from_one"),
        sa.CheckConstraint(_STATUSES, name="attempts_status_known"),
        sa.CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="attempts_ended_has_end"),
        postgresql_partition_by="RANGE (slot)" if by_month else None,
    )


def _attach(suffix: str, bounds: str) -> None:
    """Create a partition of both tables."""
    for table in ("executions", "attempts"):
        op.execute(f"CREATE TABLE {table}_{suffix} (LIKE {table} INCLUDING ALL)")
    op.execute(
        f"ALTER TABLE attempts_{suffix} ADD CONSTRAINT attempts_of_execution FOREIGN KEY (execution_id, slot)"
        f" REFERENCES executions_{suffix} (id, slot) ON DELETE CASCADE"
    )
    for table in ("executions", "attempts"):
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_{suffix} {bounds}")


def _months_of(table: str) -> Iterator[tuple[int, int]]:
    """Yield the months of a table's slots, as year and month."""
    month = "date_trunc('month', slot AT TIME ZONE 'UTC')"
    rows = op.get_bind().execute(sa.text(f"SELECT DISTINCT {month} FROM {table}"))  # noqa: S608  # a table of ours
    for (first,) in rows:
        yield first.year, first.month


def _months_around(now: datetime) -> Iterator[tuple[int, int]]:
    """Yield the previous month, the current one and the next ``_AHEAD`` months, as year and month."""
    for step in range(-1, _AHEAD + 1):
        months = now.year * 12 + now.month - 1 + step
        yield months // 12, months % 12 + 1
