"""The contract of ``Recorder``, over each transport, in front of a real Postgres."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from carillon_core.adapters.postgres.recorder import PostgresRecorder, Session
from carillon_core.adapters.recorder_client import RecorderClient
from carillon_core.recording.port import (
    Begun,
    End,
    Recorder,
    RecorderUnavailableError,
    RecordRefusedError,
    Row,
    Takeover,
)
from support.recorder import RunningRecorder
from support.runner import SLOT, TOKEN_KEY, register

POD, JOB = "report-1-x", "report-1"
UID = UUID("0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d")
RUNNING = {"number": 1, "status": "running", "started_at": "2026-01-01T00:05:00+00:00"}
ENDED = {**RUNNING, "status": "succeeded", "finished_at": "2026-01-01T00:05:01+00:00"}
END = End("succeeded", None, None, '{"sum": 3}', "2026-01-01T00:05:01+00:00", [ENDED])
WANTED = Takeover(POD, JOB, again=False, most_attempts=1)

Make = Callable[[str, UUID], Recorder]


def token(execution: UUID = UID, **more: Any) -> str:
    """Return the token of an execution, as the operator makes it."""
    payload = {
        "id": str(execution),
        "task_uid": str(UID),
        "origin": str(UID),
        "namespace": "shop",
        "task": "report",
        "task_type": "counter",
        "slot": SLOT.isoformat(),
        "cause": "schedule",
        "job_name": JOB,
        "counter": "report",
    }
    return TOKEN_KEY.token(payload | more)


@pytest.fixture(params=["postgres", "http", "https"])
def make(request: pytest.FixtureRequest, database_url: str) -> Iterator[Make]:
    """Give a maker of each transport's recorders in turn."""
    register(database_url, TOKEN_KEY)
    made: list[Recorder] = []
    make_one = _maker(request)

    def make_and_keep(token: str, execution: UUID) -> Recorder:
        made.append(make_one(token, execution))
        return made[-1]

    yield make_and_keep
    for recorder in made:
        recorder.disconnect()


def _maker(request: pytest.FixtureRequest) -> Make:
    url: str = request.getfixturevalue("runner_database_url")
    if request.param == "postgres":
        return lambda token, _execution: PostgresRecorder(Session(url), token)
    running: RunningRecorder = request.getfixturevalue("recorders").start(url, tls=request.param == "https")
    return lambda token, execution: RecorderClient(running.url, running.ca, token, execution)


@pytest.fixture
def recorder(make: Make) -> Recorder:
    """Give a recorder of the execution."""
    return make(token(), UID)


@pytest.fixture
def query(database_url: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Give a way to look at the tables as their owner."""

    def queried(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    return queried


Query = Callable[..., list[tuple[Any, ...]]]


def test_a_claim_begins_the_first_attempt_by_the_databases_clock(recorder: Recorder, query: Query) -> None:
    """With its age, so that a slow answer moves no end."""
    begun = recorder.claim(POD)
    assert begun is not None
    assert (begun.number, query("SELECT started_at FROM executions")) == (1, [(begun.at,)])
    assert 0 <= begun.age_seconds < 5
    assert recorder.look() == Row("running", pod=POD)


def test_a_claim_that_comes_again_finds_the_row_and_a_takeover_tells_whose_it_is(
    make: Make, recorder: Recorder, query: Query
) -> None:
    """Ours if an earlier try may have written it; else an earlier process of this pod may have begun the effect."""
    begun = recorder.claim(POD)
    assert begun is not None
    again = make(token(), UID)
    assert again.claim(POD) is None
    assert again.take_over(WANTED) == f"already running, by pod {POD}"
    taken = again.take_over(replace(WANTED, again=True))
    assert isinstance(taken, Begun)
    assert (taken.number, taken.at) == (1, begun.at)
    assert query("SELECT count(*) FROM attempts") == [(1,)]


def test_a_row_of_a_lost_pod_is_taken_over_while_an_attempt_is_left(
    make: Make, recorder: Recorder, query: Query
) -> None:
    """Once: a takeover that comes again begins no third attempt."""
    recorder.claim("report-1-lost")
    assert recorder.claim(POD) is None
    wanted = replace(WANTED, most_attempts=2)
    taken = recorder.take_over(wanted)
    assert isinstance(taken, Begun)
    assert taken.number == 2
    again = make(token(), UID).take_over(replace(wanted, again=True))
    assert isinstance(again, Begun)
    assert (again.number, again.at) == (2, taken.at)
    assert query("SELECT number, status, reason, pod_name FROM attempts ORDER BY number") == [
        (1, "failed", "PodLost", "report-1-lost"),
        (2, "running", None, POD),
    ]


def test_a_row_of_a_lost_pod_is_closed_if_no_attempt_is_left(make: Make, recorder: Recorder, query: Query) -> None:
    """And found closed by a takeover whose answer was lost."""
    recorder.claim("report-1-lost")
    closed = recorder.take_over(WANTED)
    assert isinstance(closed, Row)
    assert (closed.status, closed.reason) == ("failed", "PodLost")
    again = make(token(), UID).take_over(replace(WANTED, again=True))
    assert isinstance(again, Row)
    assert (again.status, again.reason, again.error) == (closed.status, closed.reason, closed.error)
    assert query("SELECT status, reason, error FROM executions") == [("failed", "PodLost", closed.error)]


def test_a_lost_attempt_without_an_effect_never_counts(recorder: Recorder) -> None:
    """The policy is not asked."""
    recorder.claim("report-1-lost")
    assert isinstance(recorder.take_over(replace(WANTED, most_attempts=None)), Begun)


def test_a_row_of_another_job_is_not_taken_over(recorder: Recorder) -> None:
    """Nor one that does not exist."""
    assert recorder.take_over(WANTED) == "another execution owns this slot"
    recorder.claim("report-2-x")
    assert recorder.take_over(replace(WANTED, job="report-2")) == "already running, by pod report-2-x"


def test_attempts_are_saved_and_saved_again(recorder: Recorder, query: Query) -> None:
    """With the same rows; those of another pod are not."""
    recorder.claim(POD)
    began = datetime.now(UTC)
    attempts: list[Mapping[str, Any]] = [
        {
            "number": 1,
            "status": "failed",
            "reason": "HTTP5xx",
            "error": "no",
            "started_at": began.isoformat(),
            "finished_at": began.isoformat(),
            "status_code": 503,
            "response_time_ms": 12.5,
        },
        {"number": 2, "status": "running", "started_at": (began + timedelta(seconds=1)).isoformat()},
    ]
    assert recorder.save_attempts(POD, attempts) is True
    assert recorder.save_attempts(POD, attempts) is True
    assert recorder.save_attempts("report-1-y", attempts) is False
    columns = "number, status, reason, error, status_code, response_time_ms"
    assert query(f"SELECT {columns} FROM attempts ORDER BY number") == [  # noqa: S608  # they stand above
        (1, "failed", "HTTP5xx", "no", 503, 12.5),
        (2, "running", None, None, None, None),
    ]


def test_a_save_that_arrives_late_reopens_no_attempt(make: Make, recorder: Recorder, query: Query) -> None:
    """It was given up, and later ones were faster: what has ended keeps its end."""
    recorder.claim(POD)
    began = {"number": 2, "status": "running", "started_at": datetime.now(UTC).isoformat()}
    failed = {**RUNNING, "status": "failed", "reason": "HTTP5xx"}
    assert recorder.save_attempts(POD, [{**began, "status": "failed", "reason": "Timeout"}, failed]) is True
    before = query("SELECT * FROM attempts ORDER BY number")
    make(token(), UID).save_attempts(POD, [RUNNING, began])
    make(token(), UID).save_attempts(POD, [{**RUNNING, "status": "failed", "reason": "other"}])
    assert query("SELECT * FROM attempts ORDER BY number") == before
    assert recorder.close(POD, END) is True
    make(token(), UID).save_attempts(POD, [RUNNING, began])
    assert query("SELECT * FROM attempts ORDER BY number") == before


def test_a_save_does_not_change_the_attempt_of_another_pod(make: Make, recorder: Recorder, query: Query) -> None:
    """Neither a late one of a pod whose row was taken over, nor one of the pod that took it over."""
    recorder.claim("report-1-lost")
    assert isinstance(recorder.take_over(replace(WANTED, most_attempts=3)), Begun)
    before = query("SELECT * FROM attempts ORDER BY number")
    assert make(token(), UID).save_attempts("report-1-lost", [ENDED]) is False
    assert recorder.save_attempts(POD, [ENDED]) is True
    assert query("SELECT * FROM attempts ORDER BY number") == before


def test_a_counter_counts_once(make: Make, recorder: Recorder, query: Query) -> None:
    """A repetition finds the row closed, with the value."""
    recorder.claim(POD)
    assert recorder.increment(POD, "report", [{**RUNNING, "status": "succeeded"}]) == 1
    again = make(token(), UID)
    assert again.increment(POD, "report", [{**RUNNING, "status": "succeeded"}]) is None
    row = again.look()
    assert row is not None
    assert (row.status, row.pod, row.result) == ("succeeded", POD, '{"value": 1, "counter": "report"}')
    assert query("SELECT value FROM counters") == [(1,)]


def test_an_end_is_written_once(make: Make, recorder: Recorder, query: Query) -> None:
    """A repetition, and an end of another pod, change nothing."""
    recorder.claim(POD)
    assert recorder.close("report-1-y", END) is False
    assert recorder.close(POD, END) is True
    before = query("SELECT * FROM executions")
    again = make(token(), UID)
    assert again.close(POD, replace(END, status="failed", reason="Late")) is False
    assert again.look() == Row("succeeded", result='{"sum": 3}', pod=POD)
    assert query("SELECT * FROM executions") == before
    assert query("SELECT status FROM attempts") == [("succeeded",)]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(replace(END, result='{"a": "\\u0000"}'), id="jsonb refuses it"),
        pytest.param(replace(END, result='{"a": 1e400}'), id="readers refuse it"),
        pytest.param(replace(END, result='{"a": 1e-16383}'), id="a number of many decimals"),
        pytest.param(replace(END, result=f'{{"a": "{"x" * 2**20}"}}'), id="larger than a row takes"),
        pytest.param(replace(END, result=f'{{"a": "{"x" * 5 * 2**20}"}}'), id="larger than a request takes"),
        pytest.param(replace(END, status="skipped"), id="no end of a runner's"),
    ],
)
def test_an_end_that_cannot_be_stored_is_refused_for_good(recorder: Recorder, query: Query, end: End) -> None:
    """And the row stays open for another end, on the same connection."""
    recorder.claim(POD)
    with pytest.raises(RecordRefusedError) as refused:
        recorder.close(POD, end)
    assert not refused.value.is_token
    assert query("SELECT status FROM executions") == [("running",)]
    assert recorder.close(POD, END) is True


def test_short_numbers_of_many_digits_take_no_memory(recorder: Recorder, query: Query) -> None:
    """As text, each of them has 131,072 digits."""
    recorder.claim(POD)
    with pytest.raises(RecordRefusedError):
        recorder.close(POD, replace(END, result=f"[{','.join(['1e131071'] * 2000)}]"))
    processes = query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    assert max(peak(pid) for (pid,) in processes) < 200 * 1024


def peak(pid: int) -> int:
    """Return the most KiB that a process has ever held; 0 if it has ended."""
    with suppress(OSError):
        for line in Path("/proc", str(pid), "status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


@pytest.mark.parametrize("number", [0, 1001])
def test_an_execution_has_a_bounded_number_of_attempts(recorder: Recorder, query: Query, number: int) -> None:
    """Whoever holds its token writes no more."""
    recorder.claim(POD)
    with pytest.raises(RecordRefusedError):
        recorder.save_attempts(POD, [{**ENDED, "number": number}])
    assert query("SELECT count(*) FROM attempts") == [(1,)]


@pytest.mark.parametrize("name", ["another", "a\0b"])
def test_a_counter_that_is_not_the_executions_is_refused(recorder: Recorder, name: str, query: Query) -> None:
    """The token says which it may increment."""
    recorder.claim(POD)
    with pytest.raises(RecordRefusedError):
        recorder.increment(POD, name, [{**RUNNING, "status": "succeeded"}])
    assert query("SELECT count(*) FROM counters") == [(0,)]


FORGED = f"{token()[:-8]}{'0' * 8}"


@pytest.mark.parametrize("bad", ["nonsense", "", "x" * 20_000, FORGED, token().replace(".", ".AAAA", 1)])
def test_a_token_that_the_operator_did_not_make_is_refused(make: Make, bad: str, query: Query) -> None:
    """For every operation, and nothing is written."""
    recorder = make(bad, UID)
    calls: list[Callable[[], object]] = [
        lambda: recorder.claim(POD),
        recorder.look,
        lambda: recorder.take_over(WANTED),
        lambda: recorder.save_attempts(POD, [RUNNING]),
        lambda: recorder.increment(POD, "report", [RUNNING]),
        lambda: recorder.close(POD, END),
    ]
    for call in calls:
        with pytest.raises(RecordRefusedError, match=r"token is (malformed|forged)") as refused:
            call()
        assert refused.value.is_token
    assert query("SELECT count(*) FROM executions") == [(0,)]


def test_a_token_whose_key_is_not_known_may_be_known_later(make: Make, query: Query) -> None:
    """Not yet, or not any more: it expires with its key, two weeks after the operator used it last."""
    query("UPDATE runner_keys SET used_at = now() - interval '16 days'")
    with pytest.raises(RecorderUnavailableError, match="is not known"):
        make(token(), UID).claim(POD)
    assert query("SELECT count(*) FROM executions") == [(0,)]


def test_a_token_replayed_after_the_end_changes_nothing(make: Make, recorder: Recorder, query: Query) -> None:
    """It can be looked up, which tells what its pod knew."""
    recorder.claim(POD)
    recorder.close(POD, END)
    before = query("SELECT * FROM executions"), query("SELECT * FROM attempts")
    replayed = make(token(), UID)
    assert replayed.claim("report-1-evil") is None
    assert replayed.take_over(Takeover("report-1-evil", JOB, again=True, most_attempts=None)) == (
        f"already succeeded, by pod {POD}"
    )
    assert replayed.save_attempts(POD, [RUNNING]) is False
    assert replayed.increment(POD, "report", [RUNNING]) is None
    assert replayed.close(POD, replace(END, status="failed")) is False
    assert (query("SELECT * FROM executions"), query("SELECT * FROM attempts")) == before


def test_a_connection_that_is_given_up_is_opened_again(recorder: Recorder) -> None:
    """Also one that is abandoned, and one that was never opened."""
    recorder.abandon()
    assert recorder.claim(POD) is not None
    recorder.disconnect()
    assert recorder.look() == Row("running", pod=POD)
    recorder.abandon()
    assert recorder.close(POD, END) is True


def test_many_executions_at_once_have_a_row_each(make: Make, query: Query) -> None:
    """One after another through as many recorders; nothing of one is in another's."""
    executions = [uuid4() for _ in range(30)]
    for minute, execution in enumerate(executions):
        slot = SLOT + timedelta(minutes=minute)
        recorder = make(token(execution, slot=slot.isoformat()), execution)
        assert recorder.claim(f"pod-{minute}") is not None
        with suppress(RecordRefusedError):
            recorder.increment(f"pod-{minute}", "another", [RUNNING])
    rows = query("SELECT id, pod_name FROM executions ORDER BY slot")
    assert rows == [(execution, f"pod-{minute}") for minute, execution in enumerate(executions)]
