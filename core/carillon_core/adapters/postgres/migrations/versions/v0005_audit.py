"""The audit: what was changed through the facade, and by whom.

Spelled out rather than taken from ``tables``: a migration says what was true when it was written.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; it refers to no other."""
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
    """Drop it; what was audited is in the logs alone from then on."""
    op.drop_table("audit_events")
