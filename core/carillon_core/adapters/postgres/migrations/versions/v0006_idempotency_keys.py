"""The idempotency keys, which make a POST safe to repeat.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("reserved_at", time, nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.dialects.postgresql.JSONB),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("caller", "key", name="idempotency_keys_pkey"),
        sa.CheckConstraint(
            "(status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL)",
            name="idempotency_keys_answer_whole",
        ),
    )
    op.create_index("idempotency_keys_by_expiry", "idempotency_keys", ["expires_at"])


def downgrade() -> None:
    """Drop it; a repeated request is then carried out again."""
    op.drop_table("idempotency_keys")
