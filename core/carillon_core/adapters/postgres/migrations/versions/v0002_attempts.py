"""Attempts, the origin of an execution, and rows that stand for a run of slots.

Spelled out rather than taken from ``tables``: a migration says what was true when it was written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new; every execution that there is was asked for by its own task."""
    time = sa.DateTime(timezone=True)
    op.add_column("executions", sa.Column("origin", sa.Uuid))
    op.add_column("executions", sa.Column("first_slot", time))
    op.execute("UPDATE executions SET origin = task_uid")
    op.alter_column("executions", "origin", nullable=False)
    op.drop_constraint("executions_slot_once", "executions")
    op.create_unique_constraint("executions_slot_once", "executions", ["origin", "slot", "cause"])
    op.create_check_constraint("executions_first_slot_first", "executions", "first_slot <= slot")
    # the unique key served the listing by task_uid, and its successor does not
    op.create_index("executions_by_task_uid", "executions", ["task_uid", "slot", "id"])
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
        sa.PrimaryKeyConstraint("execution_id", "number", name="attempts_pkey"),
        sa.ForeignKeyConstraint(["execution_id"], ["executions.id"], name="attempts_of_execution", ondelete="CASCADE"),
        sa.CheckConstraint("number >= 1", name="attempts_from_one"),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped', 'missed')",
            name="attempts_status_known",
        ),
        sa.CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="attempts_ended_has_end"),
    )


def downgrade() -> None:
    """Drop it again, and of several requests for one task and time all rows but the first: the old key has one."""
    op.drop_table("attempts")
    op.drop_index("executions_by_task_uid", "executions")
    op.drop_constraint("executions_first_slot_first", "executions")
    op.drop_constraint("executions_slot_once", "executions")
    op.execute(
        "DELETE FROM executions AS later USING executions AS first"
        " WHERE (later.task_uid, later.slot, later.cause) = (first.task_uid, first.slot, first.cause)"
        " AND (later.created_at, later.id) > (first.created_at, first.id)"
    )
    op.create_unique_constraint("executions_slot_once", "executions", ["task_uid", "slot", "cause"])
    op.drop_column("executions", "first_slot")
    op.drop_column("executions", "origin")
