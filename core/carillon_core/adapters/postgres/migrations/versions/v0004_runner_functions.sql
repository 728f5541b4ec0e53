-- What a runner may do: these functions, each on the one execution that its token names, and nothing else.
--
-- The role that runners log in as has USAGE on the schema carillon_runner and EXECUTE on its functions (granted by
-- "carillon-migrate runner-role"), and no privilege on any table. The functions run as the owner of the tables. They
-- name what they use by its schema, and have a search path in which nobody but the system can put anything, so that
-- the caller's search path and temporary tables are of no consequence. runner/carillon_runner/record.py calls them.
--
-- :"schema" is the schema of the tables; the migration puts it in, and so does psql -v schema=public.
--
-- Errors: RT001, the token is refused for good; RT002, its key is not known, which may be because the operator has not
-- reached this database yet; 22023, an argument makes no sense.

CREATE SCHEMA carillon_runner;

-- what a token says of its execution: domain/order.py, Order.token_payload
CREATE TYPE carillon_runner.execution AS (
    id uuid,
    task_uid uuid,
    origin uuid,
    namespace text,
    task text,
    task_type text,
    slot timestamptz,
    cause text,
    job_name text,
    retry_of uuid,
    counter text
);

-- Return the execution that a token names: "key id.base64(payload).hex(mac)", see domain/execution_token.py.
CREATE FUNCTION carillon_runner.verified(p_token text) RETURNS carillon_runner.execution
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts CONSTANT text[] := string_to_array(p_token, '.');
    nonce CONSTANT bytea := uuid_send(gen_random_uuid());
    k record;
    mac bytea;
BEGIN
    -- "is true": what is null is malformed too
    IF (length(p_token) <= 8192 AND cardinality(parts) = 3 AND parts[1] ~ '^[0-9a-f]{16}$'
        AND parts[2] ~ '^[A-Za-z0-9+/]+={0,2}$' AND parts[3] ~ '^[0-9a-f]{64}$') IS NOT TRUE THEN
        RAISE EXCEPTION 'the execution''s token is malformed: only the operator can make one' USING ERRCODE = 'RT001';
    END IF;
    SELECT runner_keys.inner_pad, runner_keys.outer_pad INTO k
    FROM :"schema".runner_keys
    -- longer than any Job lives that was launched with it: twice the longest time-out, which is 7 days
    WHERE runner_keys.id = parts[1] AND runner_keys.used_at > now() - interval '15 days';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the key % of the execution''s token is not known: the operator registers it as soon as it '
            'reaches the database', parts[1] USING ERRCODE = 'RT002';
    END IF;
    -- HMAC (RFC 2104) by its definition, from the pads of the key
    mac := sha256(k.outer_pad || sha256(k.inner_pad || convert_to(parts[1] || '.' || parts[2], 'UTF8')));
    -- Postgres compares up to the first difference, and the time that this takes would tell how far a guess is right;
    -- of hashes with a number that is drawn anew for each call it tells nothing
    IF sha256(nonce || mac) <> sha256(nonce || decode(parts[3], 'hex')) THEN
        RAISE EXCEPTION 'the execution''s token is forged: only the operator can make one' USING ERRCODE = 'RT001';
    END IF;
    RETURN jsonb_populate_record(
        NULL::carillon_runner.execution, convert_from(decode(parts[2], 'base64'), 'UTF8')::jsonb);
END
$$;

-- Return the result if every reader of the history can read it. A page of executions must not fail for one of them.
CREATE FUNCTION carillon_runner.readable(p_result jsonb) RETURNS jsonb
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
$$;

-- Return a time as a row may hold it: not before the execution began, and not later than now but for what a runner,
-- which measures from its claim, may be ahead. No reader can represent infinity, or the year 20000.
CREATE FUNCTION carillon_runner.sensible(p_when timestamptz, p_began timestamptz, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN greatest(p_began, least(p_when, p_now + interval '1 minute'));

-- Write attempts of a running execution; one that does not say when it ended has ended now.
CREATE FUNCTION carillon_runner.put_attempts(
    p_mine carillon_runner.execution, p_pod text, p_attempts jsonb, p_began timestamptz, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_array_length(p_attempts) > 1000 THEN
        RAISE EXCEPTION 'there are more than 1000 attempts' USING ERRCODE = '22023';
    END IF;
    INSERT INTO :"schema".attempts
        (execution_id, number, slot, status, reason, error, pod_name, started_at, finished_at)
    SELECT p_mine.id, a.number, p_mine.slot, a.status, left(a.reason, 256), left(a.error, 4096), left(p_pod, 253),
        b.began,
        CASE WHEN a.status <> 'running'
            THEN carillon_runner.sensible(coalesce(a.finished_at, p_now), b.began, p_now) END
    FROM jsonb_to_recordset(p_attempts) AS a
        (number integer, status text, reason text, error text, started_at timestamptz, finished_at timestamptz)
    CROSS JOIN LATERAL (SELECT carillon_runner.sensible(a.started_at, p_began, p_now) AS began) AS b
    ON CONFLICT (execution_id, number, slot) DO UPDATE
    SET status = excluded.status, reason = excluded.reason, error = excluded.error, finished_at = excluded.finished_at;
END
$$;

-- Insert the execution's row, running, and its first attempt, or neither; return when it began, or null if the
-- execution, or another one of the same slot, has a row.
CREATE FUNCTION carillon_runner.claim(p_token text, p_pod text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    began timestamptz;
BEGIN
    WITH claimed AS (
        INSERT INTO :"schema".executions
            (id, task_uid, origin, namespace, task, task_type, slot, cause, status, job_name, pod_name, started_at,
             retry_of)
        VALUES
            (mine.id, mine.task_uid, mine.origin, mine.namespace, mine.task, mine.task_type, mine.slot, mine.cause,
             'running', mine.job_name, left(p_pod, 253), clock_timestamp(), mine.retry_of)
        ON CONFLICT DO NOTHING
        RETURNING executions.started_at
    ), begun AS (
        INSERT INTO :"schema".attempts (execution_id, number, slot, status, pod_name, started_at)
        SELECT mine.id, 1, mine.slot, 'running', left(p_pod, 253), claimed.started_at FROM claimed
    )
    SELECT claimed.started_at INTO began FROM claimed;
    RETURN began;
END
$$;

-- Return the execution's row, if there is one.
CREATE FUNCTION carillon_runner.look(p_token text)
RETURNS TABLE (status text, reason text, error text, result text, pod_name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
BEGIN
    RETURN QUERY
    SELECT e.status, e.reason, e.error, e.result::text, e.pod_name
    FROM :"schema".executions AS e WHERE e.id = mine.id AND e.slot = mine.slot;
END
$$;

-- Return the execution's row, if there is one, and hold it until the transaction ends.
CREATE FUNCTION carillon_runner.lock_row(p_token text)
RETURNS TABLE (status text, reason text, error text, pod_name text, job_name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
BEGIN
    RETURN QUERY
    SELECT e.status, e.reason, e.error, e.pod_name, e.job_name
    FROM :"schema".executions AS e WHERE e.id = mine.id AND e.slot = mine.slot FOR UPDATE;
END
$$;

-- Return the execution's last attempt, if there is one.
CREATE FUNCTION carillon_runner.last_attempt(p_token text) RETURNS TABLE (number integer, started_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
BEGIN
    RETURN QUERY
    SELECT a.number, a.started_at FROM :"schema".attempts AS a
    WHERE a.execution_id = mine.id AND a.slot = mine.slot ORDER BY a.number DESC LIMIT 1;
END
$$;

-- Make the row one of this pod, running, and begin an attempt: a row that says that its slot was skipped or missed, or
-- that of a lost pod of the same Job. Return when the attempt began, or null if the row is neither.
CREATE FUNCTION carillon_runner.take_over(p_token text, p_pod text, p_number integer, p_error text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    began CONSTANT timestamptz := clock_timestamp();
BEGIN
    UPDATE :"schema".executions AS e
    -- a row that stood for several slots stands for this one from now on
    SET status = 'running', reason = NULL, message = NULL, error = NULL, result = NULL, first_slot = NULL,
        job_name = mine.job_name, pod_name = left(p_pod, 253), finished_at = NULL, retry_of = mine.retry_of,
        started_at = CASE e.status WHEN 'running' THEN e.started_at ELSE began END
    WHERE e.id = mine.id AND e.slot = mine.slot
        AND (e.status IN ('skipped', 'missed')
            OR (e.status = 'running' AND e.job_name = mine.job_name AND e.pod_name IS DISTINCT FROM p_pod));
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE :"schema".attempts AS a
    SET status = 'failed', reason = 'PodLost', error = left(p_error, 4096), finished_at = began
    WHERE a.execution_id = mine.id AND a.slot = mine.slot AND a.status = 'running';
    INSERT INTO :"schema".attempts (execution_id, number, slot, status, pod_name, started_at)
    VALUES (mine.id, p_number, mine.slot, 'running', left(p_pod, 253), began);
    RETURN began;
END
$$;

-- Close the row of a lost pod of the same Job as failed, and its attempts; return whether it was one.
CREATE FUNCTION carillon_runner.close_lost(p_token text, p_pod text, p_error text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    ended CONSTANT timestamptz := clock_timestamp();
BEGIN
    UPDATE :"schema".executions AS e
    SET status = 'failed', reason = 'PodLost', message = left(p_error, 4096), error = left(p_error, 4096),
        finished_at = ended
    WHERE e.id = mine.id AND e.slot = mine.slot
        AND e.status = 'running' AND e.job_name = mine.job_name AND e.pod_name IS DISTINCT FROM p_pod;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE :"schema".attempts AS a
    SET status = 'failed', reason = 'PodLost', error = left(p_error, 4096), finished_at = ended
    WHERE a.execution_id = mine.id AND a.slot = mine.slot AND a.status = 'running';
    RETURN true;
END
$$;

-- Write attempts of an execution that runs in this pod; return whether it does.
CREATE FUNCTION carillon_runner.save_attempts(p_token text, p_pod text, p_attempts jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    began timestamptz;
BEGIN
    SELECT e.started_at INTO began FROM :"schema".executions AS e
    WHERE e.id = mine.id AND e.slot = mine.slot AND e.status = 'running' AND e.pod_name = p_pod FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM carillon_runner.put_attempts(mine, p_pod, p_attempts, began, clock_timestamp());
    RETURN true;
END
$$;

-- End an execution that runs in this pod, and write its attempts; return whether it did run there.
CREATE FUNCTION carillon_runner.close_row(
    p_token text, p_pod text, p_status text, p_reason text, p_error text, p_result jsonb, p_finished_at timestamptz,
    p_attempts jsonb)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    ended CONSTANT timestamptz := clock_timestamp();
    began timestamptz;
BEGIN
    IF (p_status IN ('succeeded', 'failed', 'timed_out', 'cancelled')) IS NOT TRUE THEN
        RAISE EXCEPTION 'a runner does not end an execution as %', p_status USING ERRCODE = '22023';
    END IF;
    UPDATE :"schema".executions AS e
    SET status = p_status, reason = left(p_reason, 256), message = left(p_error, 4096), error = left(p_error, 4096),
        result = carillon_runner.readable(p_result),
        finished_at = carillon_runner.sensible(p_finished_at, e.started_at, ended)
    WHERE e.id = mine.id AND e.slot = mine.slot AND e.status = 'running' AND e.pod_name = p_pod
    RETURNING e.started_at INTO began;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM carillon_runner.put_attempts(mine, p_pod, p_attempts, began, ended);
    RETURN true;
END
$$;

-- Increment the counter of an execution that runs in this pod, and end it as succeeded; return the counter's new value,
-- or null if it does not run there. The row's lock comes first, then the counter's, in whatever order runners come.
CREATE FUNCTION carillon_runner.increment(p_token text, p_pod text, p_name text, p_attempts jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT carillon_runner.execution := carillon_runner.verified(p_token);
    began timestamptz;
    ended timestamptz;
    counted bigint;
BEGIN
    IF mine.counter IS DISTINCT FROM p_name OR p_name IS NULL THEN
        RAISE EXCEPTION 'the execution may not increment this counter' USING ERRCODE = '22023';
    END IF;
    SELECT e.started_at INTO began FROM :"schema".executions AS e
    WHERE e.id = mine.id AND e.slot = mine.slot AND e.status = 'running' AND e.pod_name = p_pod FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO :"schema".counters AS c (namespace, name, value, updated_at)
    VALUES (mine.namespace, p_name, 1, clock_timestamp())
    ON CONFLICT (namespace, name) DO UPDATE SET value = c.value + 1, updated_at = clock_timestamp()
    RETURNING c.value INTO counted;
    ended := clock_timestamp();
    UPDATE :"schema".executions AS e
    SET status = 'succeeded', finished_at = ended, result = jsonb_build_object('counter', p_name, 'value', counted)
    WHERE e.id = mine.id AND e.slot = mine.slot;
    -- an attempt that succeeds says no end of its own: it ended when it had counted
    PERFORM carillon_runner.put_attempts(mine, p_pod, p_attempts, began, ended);
    RETURN counted;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA carillon_runner FROM PUBLIC;
