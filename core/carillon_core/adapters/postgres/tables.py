"""The tables of the history. Runners do not access them: they call the functions in ``v0004_runner_functions.sql``."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import UserDefinedType

from carillon_core.contract import ExecutionStatus

SCHEMA_REVISION = "0010"
"""The newest migration, which ``ping`` requires; defined here so that the API need not import Alembic."""

metadata = MetaData()

_STATUSES = ", ".join(f"'{status}'" for status in ExecutionStatus)
_TIME = DateTime(timezone=True)
_SCOPE = ("namespace", "task")
UNUSUAL = "status NOT IN ('running', 'succeeded')"
FAILED = "status IN ('failed', 'timed_out')"


class TransactionId(UserDefinedType[str]):
    """Postgres' ``xid8``, which SQLAlchemy does not know."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the type's name in SQL."""
        return "xid8"


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
    Column("origin", Uuid, nullable=False),
    Column("first_slot", _TIME),
    Column("retry_of", Uuid),
    # the transaction that wrote the row last, by the default and a trigger; NULL in rows from before migration 0009
    Column("changed", TransactionId, server_default=text("pg_current_xact_id()")),
    # an id has one slot because it is uuid5(origin, slot, cause); the slot is in the key because the key of a
    # partitioned table must contain the partition column
    PrimaryKeyConstraint("id", "slot", name="executions_pkey"),
    # one row per slot of a task and per request: prevents a second run when the Job no longer exists. By origin,
    # because two requests may ask for the same task at the same time
    UniqueConstraint("origin", "slot", "cause", name="executions_slot_once"),
    CheckConstraint(f"status IN ({_STATUSES})", name="executions_status_known"),
    CheckConstraint("status = 'running' OR finished_at IS NOT NULL", name="executions_ended_has_end"),
    CheckConstraint(
        "status <> 'running' OR (started_at IS NOT NULL AND finished_at IS NULL)",
        name="executions_running_has_start",
    ),
    CheckConstraint("first_slot <= slot", name="executions_first_slot_first"),
    # Every listing is by (slot, id) in descending order; Postgres reads these indexes backwards. The columns after the
    # order are filters of listings: rows are filtered within the index, and only matching ones are fetched.
    Index("executions_by_slot", "slot", "id", "status"),
    Index("executions_by_namespace", "namespace", "slot", "id", "status"),
    Index("executions_by_task", "namespace", "task", "slot", "id", "status"),
    Index("executions_by_task_name", "task", "slot", "id", "status"),
    # rare values have indexes with every filter; executions that succeed are not in them
    Index("executions_by_status", "status", "slot", "id", *_SCOPE, "cause", "reason", postgresql_where=text(UNUSUAL)),
    Index(
        "executions_by_reason",
        *("reason", "slot", "id", *_SCOPE, "cause", "status"),
        postgresql_where=text("reason IS NOT NULL"),
    ),
    Index("executions_manual", "slot", "id", *_SCOPE, "status", "reason", postgresql_where=text("cause = 'manual'")),
    Index("executions_failed", "slot", "id", *_SCOPE, "cause", "reason", postgresql_where=text(FAILED)),
    Index("executions_open", "slot", "id", postgresql_where=text("status = 'running'")),
    # finds repeats of an execution
    Index("executions_retry_of", "retry_of", "slot", "id", postgresql_where=text("retry_of IS NOT NULL")),
    # finds what has changed since a snapshot
    Index("executions_by_change", "changed", postgresql_where=text("changed IS NOT NULL")),
    postgresql_partition_by="RANGE (slot)",
)
RECORD = tuple(column for column in executions.c if column.name != "changed")
"""The columns of an execution's record."""

attempts = Table(
    "attempts",
    metadata,
    Column("execution_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("error", Text),
    Column("pod_name", Text),
    Column("started_at", _TIME),
    Column("finished_at", _TIME),
    Column("slot", _TIME, nullable=False),
    Column("status_code", Integer),
    Column("response_time_ms", Double),
    # Deleting an execution deletes its attempts. Each month has its own foreign key, from attempts_2026_11 to
    # executions_2026_11: with one between the partitioned tables, dropping a month would check all attempts.
    PrimaryKeyConstraint("execution_id", "number", "slot", name="attempts_pkey"),
    CheckConstraint("number >= 1", name="attempts_from_one"),
    CheckConstraint(f"status IN ({_STATUSES})", name="attempts_status_known"),
    CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="attempts_ended_has_end"),
    postgresql_partition_by="RANGE (slot)",
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

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("subject", Text, nullable=False),
    Column("credential", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("id", name="audit_events_pkey"),
    # listed by (at, id) in descending order, like executions by (slot, id)
    Index("audit_events_by_time", "at", "id"),
    Index("audit_events_by_object", "namespace", "resource", "name", "at", "id"),
    Index("audit_events_by_namespace", "namespace", "at", "id"),
    Index("audit_events_by_subject", "subject", "at", "id"),
)

task_revisions = Table(
    "task_revisions",
    metadata,
    Column("task_uid", Uuid, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("seen_at", _TIME, nullable=False),
    # renewed while the task has this generation, so that a row expires by the time at which it was last in force
    Column("last_seen_at", _TIME, nullable=False),
    # the small part of the spec that says when the slots are; read without the spec
    Column("rules", JSONB(none_as_null=True)),
    Column("problem", Text),
    Column("spec", JSONB(none_as_null=True)),
    Column("manager", Text),
    PrimaryKeyConstraint("task_uid", "generation", name="task_revisions_pkey"),
    Index("task_revisions_by_task", "namespace", "task", "seen_at"),
    Index("task_revisions_by_last_seen", "last_seen_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("reserved_at", _TIME, nullable=False),
    # a row past this time counts as deleted: a request may take it over before the maintenance deletes it
    Column("expires_at", _TIME, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB(none_as_null=True)),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("caller", "key", name="idempotency_keys_pkey"),
    CheckConstraint(
        "(status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL)",
        name="idempotency_keys_answer_whole",
    ),
    Index("idempotency_keys_by_expiry", "expires_at"),
)

maintenance = Table(
    "maintenance",
    metadata,
    Column("tried_at", _TIME),
    Column("succeeded_at", _TIME),
    Column("seconds", Double),
    Column("changes", JSONB(none_as_null=True)),
    Column("error", Text),
    Column("id", SmallInteger, nullable=False, server_default=text("1"), autoincrement=False),
    PrimaryKeyConstraint("id", name="maintenance_pkey"),
    CheckConstraint("id = 1", name="maintenance_one_row"),
)

runner_keys = Table(
    "runner_keys",
    metadata,
    Column("id", Text, nullable=False),
    # the padded key of HMAC: SQL has SHA-256 but no exclusive or of bytes
    Column("inner_pad", LargeBinary, nullable=False),
    Column("outer_pad", LargeBinary, nullable=False),
    Column("used_at", _TIME, nullable=False),
    PrimaryKeyConstraint("id", name="runner_keys_pkey"),
    CheckConstraint("octet_length(inner_pad) = 64 AND octet_length(outer_pad) = 64", name="runner_keys_pads_whole"),
)
