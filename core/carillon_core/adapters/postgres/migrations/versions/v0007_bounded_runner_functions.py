"""What runners report is bounded, and an attempt that has ended keeps its end, as does that of another pod.

A runner gives up a save that takes too long, and the recorder may carry it out
after a later one, which reopened the attempt. The holder of a token could write
any number of attempts, and numbers that are short as jsonb but have 131,072
digits as text: a result of 54 KB took 2.3 GB. Does not use ``tables``, because a
released migration must not change when the tables do.
"""

import sqlalchemy as sa
from alembic import op
from psycopg import sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ONLY_OPEN = "WHERE old.status = 'running' AND old.pod_name IS NOT DISTINCT FROM excluded.pod_name"
_UNREADABLE = """
CREATE OR REPLACE FUNCTION carillon_runner.unreadable() RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the result is larger than 1 MiB, deeper than 100 levels, or has a number with too many digits'
        USING ERRCODE = '22023';
END
$$
"""
_READABLE = """
CREATE OR REPLACE FUNCTION carillon_runner.readable(p_result jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- one after the other: a planner computes all parts of one condition when it knows the value
    IF pg_column_size(p_result) > 16777216 THEN
        PERFORM carillon_runner.unreadable();
    END IF;
    IF EXISTS (
        SELECT FROM jsonb_path_query(p_result, 'strict $.** ? (@.type() == "number")') AS found (number)
        WHERE abs(number::numeric) > 1.8e308 OR scale(number::numeric) > 400) THEN
        PERFORM carillon_runner.unreadable();
    END IF;
    IF length(p_result::text) > 1048576 OR jsonb_path_exists(p_result, 'strict $.**{100 to last}') THEN
        PERFORM carillon_runner.unreadable();
    END IF;
    RETURN p_result;
END
$$
"""
_READABLE_BEFORE = """
CREATE OR REPLACE FUNCTION carillon_runner.readable(p_result jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(p_result::text) > 1048576
        OR jsonb_path_exists(p_result, 'strict $.**{100 to last}')
        OR jsonb_path_exists(p_result, 'lax $.** ? (@.type() == "number" && (@ > 1.8e308 || @ < -1.8e308))') THEN
        RAISE EXCEPTION 'the result is larger than 1 MiB, deeper than 100 levels, or has a number beyond 1.8e308'
            USING ERRCODE = '22023';
    END IF;
    RETURN p_result;
END
$$
"""
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
    """Replace the functions that judge results and write attempts."""
    _replace(_UNREADABLE, _READABLE, _FUNCTION.replace(":only", _ONLY_OPEN))


def downgrade() -> None:
    """Replace them by what they were, but for the bound of the attempts."""
    _replace(_READABLE_BEFORE, "DROP FUNCTION carillon_runner.unreadable()", _FUNCTION.replace(":only", ""))


def _replace(*functions: str) -> None:
    connection = op.get_bind()
    schema = sql.Identifier(str(connection.execute(sa.text("SELECT current_schema()")).scalar_one())).as_string(None)
    # passed to the driver directly: SQLAlchemy would read ":=" and "%" as parameters
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no connection")
    for function in functions:
        driver.execute(function.replace(':"schema"', schema))
