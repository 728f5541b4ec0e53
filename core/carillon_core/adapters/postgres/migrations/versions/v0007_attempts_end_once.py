"""An attempt that has ended keeps its end, and that of another pod stays as it is.

A runner gives up a save that takes too long, and the recorder may carry it out
after a later one: it would reopen the attempt. Does not use ``tables``, because
a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from psycopg import sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ONLY_OPEN = "WHERE old.status = 'running' AND old.pod_name IS NOT DISTINCT FROM excluded.pod_name"
_FUNCTION = """
CREATE OR REPLACE FUNCTION carillon_runner.put_attempts(
    p_mine carillon_runner.execution, p_pod text, p_attempts jsonb, p_began timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_array_length(p_attempts) > 1000 THEN
        RAISE EXCEPTION 'there are more than 1000 attempts' USING ERRCODE = '22023';
    END IF;
    INSERT INTO :"schema".attempts AS old
        (execution_id, number, slot, status, reason, error, pod_name, started_at, finished_at)
    SELECT p_mine.id, a.number, p_mine.slot, a.status, left(a.reason, 256), left(a.error, 4096), left(p_pod, 253),
        b.began,
        CASE WHEN a.status <> 'running'
            THEN carillon_runner.sensible(coalesce(a.finished_at, p_now), b.began, p_now) END
    FROM jsonb_to_recordset(p_attempts) AS a
        (number integer, status text, reason text, error text, started_at timestamptz, finished_at timestamptz)
    CROSS JOIN LATERAL (SELECT carillon_runner.sensible(a.started_at, p_began, p_now) AS began) AS b
    ON CONFLICT (execution_id, number, slot) DO UPDATE
    SET status = excluded.status, reason = excluded.reason, error = excluded.error, finished_at = excluded.finished_at
    :only;
END
$$
"""


def upgrade() -> None:
    """Replace the function that writes attempts."""
    _replace(_ONLY_OPEN)


def downgrade() -> None:
    """Replace it by what it was."""
    _replace("")


def _replace(only: str) -> None:
    connection = op.get_bind()
    schema = str(connection.execute(sa.text("SELECT current_schema()")).scalar_one())
    # passed to the driver directly: SQLAlchemy would read ":=" and "%" as parameters
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no connection")
    driver.execute(_FUNCTION.replace(':"schema"', sql.Identifier(schema).as_string(None)).replace(":only", only))
