"""Attempts, the origin of an execution, and rows that stand for a series of slots.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the new columns and the table; the origin of every existing execution is its task."""
    time = sa.DateTime(timezone=True)
    op.add_column("executions", sa.Column("origin", sa.Uuid))
    op.add_column("executions", sa.Column("first_slot", time))
    op.execute("UPDATE executions SET origin = task_uid")
    op.alter_column("executions", "origin", nullable=False)
    op.drop_constraint("executions_slot_once", "executions")
    op.create_unique_constraint("executions_slot_once", "executions", ["origin", "slot", "cause"])
    op.create_check_constraint("executions_first_slot_first", "executions", "first_slot <= slot")
    # listings by task_uid used the unique key's index; the new key's does not begin with task_uid
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
    """Undo ``upgrade``; of several requests for one task and time, keep only the first row, as the old key requires."""
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
