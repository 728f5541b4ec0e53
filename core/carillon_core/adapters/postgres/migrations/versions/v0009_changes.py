"""The transaction that wrote an execution last, which the API's stream of changes looks for.

The new column locks the table alone until the migration ends, so that no rows may be read here: the maintenance adds
the index to partitions that have rows, without a lock that writers wait for.

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
    _index_empty_partitions()
    op.execute(_FUNCTION)
    # triggers need no permission to execute it, and others should not call it
    op.execute("REVOKE ALL ON FUNCTION executions_changed() FROM PUBLIC")
    # a trigger rather than a value in every statement: runners' functions, the operator and administrators write rows
    op.execute(
        "CREATE TRIGGER executions_changed BEFORE UPDATE ON executions"
        " FOR EACH ROW EXECUTE FUNCTION executions_changed()"
    )


def _index_empty_partitions() -> None:
    """Create the index of the whole table; it is valid once every partition has its own."""
    op.execute("CREATE INDEX executions_by_change ON ONLY executions (changed) WHERE changed IS NOT NULL")
    partitions = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'executions'::regclass"
    for part in op.get_bind().execute(sa.text(partitions)).scalars().all():
        if op.get_bind().execute(sa.text(f"SELECT NOT EXISTS (SELECT FROM {part})")).scalar_one():  # noqa: S608  # ours
            op.execute(f"CREATE INDEX {part}_changed_idx ON {part} (changed) WHERE changed IS NOT NULL")
            op.execute(f"ALTER INDEX executions_by_change ATTACH PARTITION {part}_changed_idx")


def downgrade() -> None:
    """Undo it; an API of this version then reports that its database is too old."""
    op.execute("DROP TRIGGER executions_changed ON executions")
    op.execute("DROP FUNCTION executions_changed()")
    op.drop_index("executions_by_change", "executions")
    op.drop_column("executions", "changed")
