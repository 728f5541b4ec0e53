"""The history of specs, which explains what should have happened at an instant.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "task_revisions",
        sa.Column("task_uid", sa.Uuid, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("seen_at", time, nullable=False),
        sa.Column("last_seen_at", time, nullable=False),
        sa.Column("rules", JSONB(none_as_null=True)),
        sa.Column("problem", sa.Text),
        sa.Column("spec", JSONB(none_as_null=True)),
        sa.Column("manager", sa.Text),
        sa.PrimaryKeyConstraint("task_uid", "generation", name="task_revisions_pkey"),
    )
    op.create_index("task_revisions_by_task", "task_revisions", ["namespace", "task", "seen_at"])
    op.create_index("task_revisions_by_last_seen", "task_revisions", ["last_seen_at"])


def downgrade() -> None:
    """Drop it; the operator records the specs of the existing tasks again."""
    op.drop_table("task_revisions")
