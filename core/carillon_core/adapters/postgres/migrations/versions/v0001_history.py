"""Executions and counters.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and their indexes."""
    time = sa.DateTime(timezone=True)
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
        sa.PrimaryKeyConstraint("id", name="executions_pkey"),
        sa.UniqueConstraint("task_uid", "slot", "cause", name="executions_slot_once"),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped', 'missed')",
            name="executions_status_known",
        ),
        sa.CheckConstraint("status = 'running' OR finished_at IS NOT NULL", name="executions_ended_has_end"),
        sa.CheckConstraint(
            "status <> 'running' OR (started_at IS NOT NULL AND finished_at IS NULL)",
            name="executions_running_has_start",
        ),
    )
    op.create_index("executions_by_slot", "executions", ["slot", "id"])
    op.create_index("executions_by_namespace", "executions", ["namespace", "slot", "id"])
    op.create_index("executions_by_task", "executions", ["namespace", "task", "slot", "id"])
    op.create_index("executions_by_status", "executions", ["status", "slot", "id"])
    op.create_index("executions_open", "executions", ["slot", "id"], postgresql_where=sa.text("status = 'running'"))
    # A task has one namespace. Without these statistics the planner takes the columns for independent, expects
    # almost no rows per task, and sorts them all instead of reading the first page from the index.
    op.execute("CREATE STATISTICS executions_of_task (dependencies) ON namespace, task FROM executions")
    op.create_table(
        "counters",
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", name="counters_pkey"),
    )


def downgrade() -> None:
    """Drop everything, including the history."""
    op.drop_table("counters")
    op.drop_table("executions")
