"""Attempts of HTTP tasks have the status and the time of their responses.

Earlier rows have neither. What a runner reports is checked: anything that is
not an HTTP status, or not a time, is stored as null. Does not use ``tables``,
because a released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from psycopg import sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE OR REPLACE FUNCTION carillon_runner.put_attempts(
    p_mine carillon_runner.execution, p_pod text, p_attempts jsonb, p_began timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_array_length(p_attempts) > 1000 OR EXISTS (
        SELECT FROM jsonb_to_recordset(p_attempts) AS a (number integer) WHERE number NOT BETWEEN 1 AND 1000) THEN
        RAISE EXCEPTION 'there are more than 1000 attempts' USING ERRCODE = '22023';
    END IF;
    INSERT INTO :"schema".attempts AS old
        (execution_id, number, slot, status, reason, error, pod_name, started_at, finished_at:columns)
    SELECT p_mine.id, a.number, p_mine.slot, a.status, left(a.reason, 256), left(a.error, 4096), left(p_pod, 253),
        b.began,
        CASE WHEN a.status <> 'running'
            THEN carillon_runner.sensible(coalesce(a.finished_at, p_now), b.began, p_now) END:values
    FROM jsonb_to_recordset(p_attempts) AS a
        (number integer, status text, reason text, error text, started_at timestamptz, finished_at timestamptz:types)
    CROSS JOIN LATERAL (SELECT carillon_runner.sensible(a.started_at, p_began, p_now) AS began) AS b
    ON CONFLICT (execution_id, number, slot) DO UPDATE
    SET status = excluded.status, reason = excluded.reason, error = excluded.error,
        finished_at = excluded.finished_at:updates
    WHERE old.status = 'running' AND old.pod_name IS NOT DISTINCT FROM excluded.pod_name;
END
$$
"""
_RESPONSES = {
    ":columns": ", status_code, response_time_ms",
    # no reader can represent NaN, which is greater than every number, or infinity; a week is the longest time-out
    ":values": """,
        CASE WHEN a.status_code BETWEEN 100 AND 999 THEN a.status_code END,
        CASE WHEN a.response_time_ms BETWEEN 0 AND 604800000 THEN a.response_time_ms END""",
    ":types": ",\n        status_code integer, response_time_ms double precision",
    ":updates": ",\n        status_code = excluded.status_code, response_time_ms = excluded.response_time_ms",
}


def upgrade() -> None:
    """Add the columns, which are null in every row, and let the function that writes attempts fill them."""
    op.add_column("attempts", sa.Column("status_code", sa.Integer))
    op.add_column("attempts", sa.Column("response_time_ms", sa.Double))
    _replace(_RESPONSES)


def downgrade() -> None:
    """Undo ``upgrade``."""
    _replace(dict.fromkeys(_RESPONSES, ""))
    op.drop_column("attempts", "response_time_ms")
    op.drop_column("attempts", "status_code")


def _replace(parts: dict[str, str]) -> None:
    connection = op.get_bind()
    schema = sql.Identifier(str(connection.execute(sa.text("SELECT current_schema()")).scalar_one())).as_string(None)
    function = _FUNCTION
    for mark, part in parts.items():
        function = function.replace(mark, part)
    # passed to the driver directly: SQLAlchemy would read ":=" and "%" as parameters
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no connection")
    driver.execute(function.replace(':"schema"', schema))
