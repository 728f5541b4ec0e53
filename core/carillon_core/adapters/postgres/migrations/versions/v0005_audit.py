"""The audit log: the changes made through the facade, and their authors.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    words = ("subject", "credential", "source", "user_agent", "request_id", "action", "resource", "namespace", "name")
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(word, sa.Text, nullable=False) for word in words),
        sa.Column("before", JSONB(none_as_null=True)),
        sa.Column("after", JSONB(none_as_null=True)),
        sa.PrimaryKeyConstraint("id", name="audit_events_pkey"),
    )
    op.create_index("audit_events_by_time", "audit_events", ["at", "id"])
    op.create_index("audit_events_by_object", "audit_events", ["namespace", "resource", "name", "at", "id"])
    op.create_index("audit_events_by_namespace", "audit_events", ["namespace", "at", "id"])
    op.create_index("audit_events_by_subject", "audit_events", ["subject", "at", "id"])


def downgrade() -> None:
    """Drop it; past audit events remain in the logs only."""
    op.drop_table("audit_events")
