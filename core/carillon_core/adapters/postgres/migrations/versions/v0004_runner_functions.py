"""The functions that runners call, and the keys that sign execution tokens.

Does not use ``tables``, because a released migration must not change when the tables do. The functions are in
``v0004_runner_functions.sql``.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from psycopg import sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the keys, and the functions in their own schema."""
    op.create_table(
        "runner_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("inner_pad", sa.LargeBinary, nullable=False),
        sa.Column("outer_pad", sa.LargeBinary, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="runner_keys_pkey"),
        sa.CheckConstraint(
            "octet_length(inner_pad) = 64 AND octet_length(outer_pad) = 64", name="runner_keys_pads_whole"
        ),
    )
    connection = op.get_bind()
    schema = str(connection.execute(sa.text("SELECT current_schema()")).scalar_one())
    functions = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # passed to the driver directly: SQLAlchemy would read ":=" and "%" as parameters
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no connection")
    driver.execute(functions.replace(':"schema"', sql.Identifier(schema).as_string(None)))


def downgrade() -> None:
    """Drop them and the privileges on them; runners of this version can then no longer record."""
    op.execute("DROP SCHEMA carillon_runner CASCADE")
    op.drop_table("runner_keys")
