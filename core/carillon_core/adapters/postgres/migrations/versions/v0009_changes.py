"""The transaction that wrote an execution last, which the API's stream of changes looks for.

Does not use ``tables``, because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE FUNCTION executions_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_catalog.pg_current_xact_id();
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    """Add the column without rewriting the table: existing rows have NULL and are not in the index."""
    op.execute("ALTER TABLE executions ADD COLUMN changed xid8")
    op.execute("ALTER TABLE executions ALTER COLUMN changed SET DEFAULT pg_current_xact_id()")
    op.create_index("executions_by_change", "executions", ["changed"], postgresql_where=sa.text("changed IS NOT NULL"))
    op.execute(_FUNCTION)
    # a trigger does not need it, and nobody else should call it
    op.execute("REVOKE ALL ON FUNCTION executions_changed() FROM PUBLIC")
    # a trigger rather than a value in every statement: runners' functions, the operator and administrators write rows
    op.execute(
        "CREATE TRIGGER executions_changed BEFORE UPDATE ON executions"
        " FOR EACH ROW EXECUTE FUNCTION executions_changed()"
    )


def downgrade() -> None:
    """Undo it; an API of this version then reports that its database is too old."""
    op.execute("DROP TRIGGER executions_changed ON executions")
    op.execute("DROP FUNCTION executions_changed()")
    op.drop_index("executions_by_change", "executions")
    op.drop_column("executions", "changed")
