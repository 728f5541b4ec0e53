"""The tables of the history. The runner, which knows no SQLAlchemy, writes them in plain SQL: see its ``record``."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from carillon_core.contract import ExecutionStatus

SCHEMA_REVISION = "0001"
"""The newest migration, which ``ping`` asks for; stands here so that the API need not import Alembic."""

metadata = MetaData()

_STATUSES = ", ".join(f"'{status}'" for status in ExecutionStatus)
_TIME = DateTime(timezone=True)

executions = Table(
    "executions",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("task_uid", Uuid, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    Column("slot", _TIME, nullable=False),
    Column("cause", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("message", Text),
    Column("job_name", Text),
    Column("pod_name", Text),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
    Column("started_at", _TIME),
    Column("finished_at", _TIME),
    Column("result", JSONB(none_as_null=True)),
    Column("error", Text),
    PrimaryKeyConstraint("id", name="executions_pkey"),
    # one row for a slot, whoever writes it: what makes a second run impossible once the Job is gone.
    # it also serves the listing by task_uid
    UniqueConstraint("task_uid", "slot", "cause", name="executions_slot_once"),
    CheckConstraint(f"status IN ({_STATUSES})", name="executions_status_known"),
    CheckConstraint("status = 'running' OR finished_at IS NOT NULL", name="executions_ended_has_end"),
    CheckConstraint(
        "status <> 'running' OR (started_at IS NOT NULL AND finished_at IS NULL)",
        name="executions_running_has_start",
    ),
    # every listing is by (slot, id) downwards; Postgres reads these backwards as gladly as forwards
    Index("executions_by_slot", "slot", "id"),
    Index("executions_by_namespace", "namespace", "slot", "id"),
    Index("executions_by_task", "namespace", "task", "slot", "id"),
    Index("executions_by_status", "status", "slot", "id"),
    Index("executions_open", "slot", "id", postgresql_where=text("status = 'running'")),
)

counters = Table(
    "counters",
    metadata,
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    PrimaryKeyConstraint("namespace", "name", name="counters_pkey"),
)
