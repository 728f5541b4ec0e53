"""The contract of ``HistoryRecorder`` and ``HistoryReader``, over each adapter, Postgres being a real one."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.postgres.history import BATCH, PostgresHistory
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord, execution_id
from carillon_core.errors import InvalidResourceError, NotFoundError
from carillon_core.ports import ExecutionQuery, HistoryReader, HistoryRecorder

T0 = datetime(2026, 3, 1, tzinfo=UTC)
BACKUP = "11111111-1111-4111-8111-111111111111"
REPORT = "22222222-2222-4222-8222-222222222222"


REQUEST = "33333333-3333-4333-8333-333333333333"


class History(HistoryRecorder, HistoryReader, Protocol):
    """Both ports, as each adapter has them."""


@pytest.fixture(params=["memory", "postgres"])
async def history(request: pytest.FixtureRequest) -> AsyncIterator[History]:
    """Give each adapter in turn, empty."""
    if request.param == "memory":
        yield MemoryHistory()
        return
    postgres = PostgresHistory.from_url(request.getfixturevalue("database_url"))
    yield postgres
    await postgres.aclose()


def skipped(minute: int, task_uid: str = BACKUP, **changes: Any) -> ExecutionRecord:
    """Build the record of a slot that was skipped, ``minute`` minutes after T0."""
    slot = T0 + timedelta(minutes=minute)
    record = ExecutionRecord(
        id=execution_id(task_uid, slot, Cause.SCHEDULE),
        task_uid=task_uid,
        namespace="default",
        task="backup",
        task_type="sleep",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.SKIPPED,
        reason="StillActive",
        message="an execution of the task is still active",
        created_at=slot + timedelta(seconds=1),
        finished_at=slot + timedelta(seconds=1),
    )
    return replace(record, **changes)


def running(minute: int, task_uid: str = BACKUP, **changes: Any) -> ExecutionRecord:
    """Build the record of an execution that runs."""
    began = T0 + timedelta(minutes=minute, seconds=2)
    fields: dict[str, Any] = {
        "status": ExecutionStatus.RUNNING,
        "reason": None,
        "message": None,
        "job_name": f"backup-{minute}",
        "pod_name": f"backup-{minute}-x",
        "started_at": began,
        "finished_at": None,
    }
    return skipped(minute, task_uid, **{**fields, **changes})


def attempt(number: int, **changes: Any) -> Attempt:
    """Build an attempt that failed within a second, ``number`` minutes after T0."""
    began = T0 + timedelta(minutes=number)
    failed = Attempt(
        number=number,
        status=ExecutionStatus.FAILED,
        reason="http_5xx",
        error="the server answered 500",
        pod_name="backup-1-x",
        started_at=began,
        finished_at=began + timedelta(seconds=1),
    )
    return replace(failed, **changes)


def running_attempt(number: int) -> Attempt:
    """Build an attempt that runs."""
    return attempt(number, status=ExecutionStatus.RUNNING, reason=None, error=None, finished_at=None)


def lost(record: ExecutionRecord) -> Closing:
    """Build the closing of an execution whose pod vanished."""
    return Closing(
        id=record.id,
        namespace=record.namespace,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        finished_at=record.slot + timedelta(minutes=5),
    )


async def everything(history: History, query: ExecutionQuery | None = None) -> list[ExecutionRecord]:
    """Return all that a query lists, page after page."""
    rows: list[ExecutionRecord] = []
    page = await history.list(query or ExecutionQuery())
    rows.extend(page.items)
    while page.next_cursor:
        page = await history.list(replace(query or ExecutionQuery(), cursor=page.next_cursor))
        rows.extend(page.items)
    return rows


ROWS = {
    "a skipped slot": skipped(0),
    "a missed slot that stands for several": skipped(1, status=ExecutionStatus.MISSED, reason="Superseded"),
    "a running execution": running(2),
    "a success with a result": skipped(
        3,
        status=ExecutionStatus.SUCCEEDED,
        reason=None,
        message=None,
        started_at=T0,
        result={"sum": 3, "parts": [1, 2.5, None, {"ü": True}]},
    ),
    "a failure with an error": skipped(4, status=ExecutionStatus.FAILED, error="exit code 1", started_at=T0),
    "a request's run of the task": skipped(4, cause=Cause.MANUAL, origin=REQUEST),
    "a repetition": skipped(4, cause=Cause.MANUAL, origin=REQUEST, retry_of=UUID(int=8)),
    "a row that stands for a run of slots": skipped(60, first_slot=T0, status=ExecutionStatus.MISSED),
    "a row that stands for one slot": skipped(5, first_slot=T0 + timedelta(minutes=5)),
    "a slot to the microsecond": skipped(5, slot=T0 + timedelta(microseconds=123_456)),
    "a slot before 1970": skipped(6, slot=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_a_row_comes_back_as_it_was_recorded(history: History, row: ExecutionRecord) -> None:
    """Both by its id and in a listing."""
    await history.record([row])
    assert await history.get(row.id) == row
    assert await everything(history) == [row]


async def test_times_come_back_in_utc(history: History) -> None:
    """Whatever zone they were given in."""
    await history.record([skipped(0, slot=T0.astimezone(timezone(timedelta(hours=5))))])
    stored = (await everything(history))[0]
    assert stored.slot == T0
    assert stored.slot.utcoffset() == timedelta(0)
    assert stored.created_at is not None
    assert stored.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("status", [ExecutionStatus.SKIPPED, ExecutionStatus.MISSED])
async def test_a_slot_that_never_ran_ends_when_it_is_recorded(history: History, status: ExecutionStatus) -> None:
    """Its row is terminal, so it has an end, though the recorder was given none."""
    before = datetime.now(UTC)
    row = skipped(0, status=status, created_at=None, finished_at=None)
    await history.record([row])
    stored = await history.get(row.id)
    assert stored.finished_at is not None
    assert before <= stored.finished_at <= datetime.now(UTC)
    assert stored.created_at == stored.finished_at


async def test_attempts_come_with_their_execution_and_not_in_a_listing(history: History) -> None:
    """In order, each as it was recorded; of a number that is given twice, the first."""
    row = running(0, attempts=(attempt(1), attempt(2), running_attempt(3)))
    other = skipped(1, attempts=(attempt(1, status=ExecutionStatus.SUCCEEDED, reason=None, error=None),))
    await history.record([replace(row, attempts=(*reversed(row.attempts), attempt(1, reason="later"))), other])
    assert await history.get(row.id) == row
    assert await history.get(other.id) == other
    bare = replace(row, attempts=())
    assert await everything(history) == [replace(other, attempts=()), bare]
    assert await history.open_executions() == [bare]


async def test_attempts_that_come_later_are_added_to_an_open_execution_alone(history: History) -> None:
    """What was recorded first stays; one that has ended gets no more, and nobody else's row does."""
    opened, ended = running(0, attempts=(attempt(1),)), skipped(1)
    await history.record([opened, ended])
    late = (attempt(1, reason="later"), attempt(2))
    foreign = skipped(0, id=uuid4(), attempts=late)
    await history.record([replace(opened, attempts=late), replace(ended, attempts=late), foreign])
    assert (await history.get(opened.id)).attempts == (attempt(1), attempt(2))
    assert (await history.get(ended.id)).attempts == ()
    with pytest.raises(NotFoundError):
        await history.get(foreign.id)


async def test_an_attempt_that_does_not_say_when_it_ended_ended_with_its_execution(history: History) -> None:
    """A pod that never started has no times at all."""
    row = skipped(0, status=ExecutionStatus.FAILED, attempts=(attempt(1, started_at=None, finished_at=None),))
    await history.record([row])
    assert (await history.get(row.id)).attempts == (attempt(1, started_at=None, finished_at=row.finished_at),)


async def test_close_ends_the_attempt_that_runs(history: History) -> None:
    """As the execution; what had ended before stays, also that of an execution that is not closed by this."""
    ghost, other = (running(minute, attempts=(attempt(1), running_attempt(2))) for minute in (0, 1))
    await history.record([ghost, other])
    assert await history.close([lost(ghost)]) == [ghost.id]
    end = T0 + timedelta(minutes=5)
    lost_attempt = replace(running_attempt(2), status=ExecutionStatus.FAILED, reason="Evicted", finished_at=end)
    want = (attempt(1), replace(lost_attempt, error="its pod was evicted"))
    assert (await history.get(ghost.id)).attempts == want
    assert await history.get(other.id) == other


DUPLICATES: dict[str, Callable[[ExecutionRecord], ExecutionRecord]] = {
    "the same id": lambda row: replace(row, message="later", task_uid=REPORT),
    "the same origin, slot and cause": lambda row: replace(row, message="later", id=uuid4()),
    "the same origin, named": lambda row: replace(row, message="later", id=uuid4(), origin=row.task_uid),
    "the very same row": lambda row: row,
}


@pytest.mark.parametrize("again", DUPLICATES.values(), ids=DUPLICATES.keys())
async def test_a_duplicate_is_ignored(history: History, again: Callable[[ExecutionRecord], ExecutionRecord]) -> None:
    """The first row stays as it is, and the new ones beside it are still recorded."""
    row, other = skipped(0), skipped(9)
    await history.record([row])
    await history.record([again(row), other])
    await history.record([again(other), again(other)])
    assert await everything(history) == [other, row]


async def test_requests_for_one_task_and_time_are_two(history: History) -> None:
    """Each is its own origin; the same request is recorded once, whatever task it says."""
    mine, theirs = (skipped(0, cause=Cause.MANUAL, origin=uid, id=uuid4()) for uid in (REQUEST, str(UUID(int=9))))
    await history.record([mine, theirs])
    await history.record([replace(mine, id=uuid4(), task_uid=REPORT)])
    assert {row.id for row in await everything(history)} == {mine.id, theirs.id}


async def test_more_rows_than_one_batch(history: History) -> None:
    """Recording and closing have no limit of their own, and nothing is a fine thing to record or close."""
    rows = [running(minute) for minute in range(2 * BATCH + 1)]
    await history.record(rows)
    await history.record([])
    assert await history.close([]) == []
    assert len(await history.open_executions()) == len(rows)
    assert set(await history.close([lost(row) for row in rows])) == {row.id for row in rows}
    assert await history.open_executions() == []


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"task_uid": "nonsense"}, id="a task uid that is no UUID"),
        pytest.param({"status": ExecutionStatus.RUNNING, "finished_at": None}, id="running without a start"),
        pytest.param({"status": ExecutionStatus.RUNNING, "started_at": T0}, id="running with an end"),
        pytest.param({"origin": "nonsense"}, id="an origin that is no UUID"),
        pytest.param({"first_slot": T0 + timedelta(seconds=1)}, id="slots that end before the first"),
        pytest.param({"attempts": (attempt(0),)}, id="an attempt before the first"),
        pytest.param({"attempts": (running_attempt(1),)}, id="an attempt that runs in an execution that has ended"),
    ],
)
async def test_a_row_that_makes_no_sense_is_refused(history: History, bad: dict[str, Any]) -> None:
    """It is the caller's fault, and nothing at all is recorded."""
    with pytest.raises(ValueError, match=r"UUID|start|slot|attempt"):
        await history.record([skipped(1), skipped(0, **bad)])
    assert await everything(history) == []


async def test_close_ends_only_what_is_open(history: History) -> None:
    """An execution that recorded its own end keeps it; an unknown id changes nothing."""
    ghost, done = running(0), skipped(1, status=ExecutionStatus.SUCCEEDED)
    await history.record([ghost, done])
    closed = await history.close([lost(ghost), lost(done), lost(skipped(2))])
    assert closed == [ghost.id]
    assert await history.get(done.id) == done
    assert await history.get(ghost.id) == replace(
        ghost,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        error="its pod was evicted",
        finished_at=T0 + timedelta(minutes=5),
    )
    assert len(await everything(history)) == 2


async def test_close_ends_nothing_before_it_began(history: History) -> None:
    """A pod's times are whole seconds, a row's are not: what ended in the second it began in took no time at all."""
    began = T0 + timedelta(milliseconds=700)
    row = replace(running(0, attempts=(replace(running_attempt(1), started_at=began),)), started_at=began)
    await history.record([row])
    await history.close([replace(lost(row), finished_at=T0)])
    ended = await history.get(row.id)
    assert (ended.finished_at, ended.attempts[0].finished_at) == (began, began)


async def test_close_twice_changes_nothing_the_second_time(history: History) -> None:
    """Neither in a later call nor within one: the first closing wins."""
    row = running(0)
    await history.record([row])
    later = replace(lost(row), status=ExecutionStatus.TIMED_OUT)
    assert await history.close([lost(row), later]) == [row.id]
    assert await history.close([later]) == []
    assert (await history.get(row.id)).status is ExecutionStatus.FAILED


async def test_close_to_an_open_status_is_refused(history: History) -> None:
    """A closing ends, or it is a mistake."""
    with pytest.raises(ValueError, match="cannot be closed as running"):
        await history.close([replace(lost(running(0)), status=ExecutionStatus.RUNNING)])


async def test_open_executions_come_oldest_first(history: History) -> None:
    """Whatever the order of their recording; the terminal ones are left out."""
    rows = [running(minute, uid) for minute in (5, 2, 0, 7, 1) for uid in (REPORT, BACKUP)]
    await history.record([*rows, skipped(3)])
    assert await history.open_executions() == sorted(rows, key=lambda row: (row.slot, row.id))


async def test_an_unknown_execution_is_not_found(history: History) -> None:
    """The message names it."""
    uid = uuid4()
    with pytest.raises(NotFoundError, match=str(uid)):
        await history.get(uid)


FAILURE = skipped(4, status=ExecutionStatus.FAILED, reason="http_5xx", started_at=T0)
FILTERED = [
    skipped(0),
    skipped(1, task="report", task_uid=REPORT),
    skipped(2, namespace="prod", task_uid=str(UUID(int=3))),
    running(3),
    FAILURE,
    skipped(5, status=ExecutionStatus.TIMED_OUT, reason="timeout", namespace="prod", started_at=T0),
    skipped(6, status=ExecutionStatus.FAILED, reason="http_5xx", cause=Cause.MANUAL, origin=REQUEST, started_at=T0),
    # repeats the fourth, and has failed in its turn
    replace(FAILURE, id=uuid4(), slot=T0 + timedelta(minutes=7), cause=Cause.MANUAL, retry_of=FAILURE.id),
]
SKIPPED, FAILED = ExecutionStatus.SKIPPED, ExecutionStatus.FAILED
FILTERS = {
    "none": ({}, [7, 6, 5, 4, 3, 2, 1, 0]),
    "namespace": ({"namespace": "default"}, [7, 6, 4, 3, 1, 0]),
    "some namespaces": ({"namespaces": ("absent", "default", "prod")}, [7, 6, 5, 4, 3, 2, 1, 0]),
    "one of some namespaces": ({"namespaces": ("prod",), "status": SKIPPED}, [2]),
    "namespace and task": ({"namespace": "default", "task": "backup"}, [7, 6, 4, 3, 0]),
    "task in every namespace": ({"task": "backup"}, [7, 6, 5, 4, 3, 2, 0]),
    "status": ({"status": ExecutionStatus.RUNNING}, [3]),
    "status and namespace": ({"status": SKIPPED, "namespace": "default"}, [1, 0]),
    "cause": ({"cause": Cause.MANUAL}, [7, 6]),
    "the schedule's failures": ({"cause": Cause.SCHEDULE, "status": FAILED}, [4]),
    "reason": ({"reason": "http_5xx"}, [7, 6, 4]),
    "reason, status and cause": ({"reason": "http_5xx", "status": FAILED, "cause": Cause.MANUAL}, [7, 6]),
    "a reason in another case": ({"reason": "HTTP_5XX"}, []),
    "a reason that no text column takes": ({"reason": "http\0_5xx"}, []),
    "a reason that is no text": ({"reason": "\ud800"}, []),
    "since, its own instant included": ({"since": T0 + timedelta(minutes=5)}, [7, 6, 5]),
    "until, its own instant left out": ({"until": T0 + timedelta(minutes=2)}, [1, 0]),
    "since and until in another zone": (
        {
            "since": (T0 + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=5))),
            "until": (T0 + timedelta(minutes=3)).astimezone(timezone(-timedelta(hours=5))),
        },
        [2, 1],
    ),
    "since after until": ({"since": T0 + timedelta(minutes=3), "until": T0}, []),
    "what repeats an execution": ({"retry_of": FAILURE.id}, [7]),
    "what repeats one that nobody repeated": ({"retry_of": skipped(0).id}, []),
    "dead letters": ({"dead_letters": True}, [7, 6, 5]),
    "dead letters of a namespace": ({"dead_letters": True, "namespace": "prod"}, [5]),
    "dead letters of the schedule": ({"dead_letters": True, "cause": Cause.SCHEDULE}, [5]),
    "dead letters for a reason": ({"dead_letters": True, "reason": "http_5xx"}, [7, 6]),
    "dead letters that were skipped": ({"dead_letters": True, "status": SKIPPED}, []),
    "dead letters until": ({"dead_letters": True, "until": T0 + timedelta(minutes=6)}, [5]),
    "a namespace that nobody has": ({"namespace": "nowhere"}, []),
    "a quote in a name": ({"task": "b'; DROP TABLE executions --"}, []),
    "a quote in a reason": ({"reason": "b'; DROP TABLE executions --"}, []),
}


@pytest.mark.parametrize(("filters", "want"), FILTERS.values(), ids=FILTERS.keys())
async def test_filters(history: History, filters: dict[str, Any], want: list[int]) -> None:
    """Each narrows the listing, together they narrow it further, and the order stays; so it does over pages."""
    await history.record(FILTERED)
    assert await everything(history, ExecutionQuery(**filters)) == [FILTERED[n] for n in want]
    assert await everything(history, ExecutionQuery(**filters, limit=1)) == [FILTERED[n] for n in want]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 30])
async def test_paging_gives_every_row_once_while_rows_are_inserted(history: History, limit: int) -> None:
    """Several rows share a slot; newer ones that come meanwhile are not seen, older ones are, none twice."""
    tasks = [str(UUID(int=n + 1)) for n in range(5)]
    first = [skipped(minute, uid) for minute in range(10, 13) for uid in tasks]
    await history.record(first)
    seen: list[ExecutionRecord] = []
    page = await history.list(ExecutionQuery(limit=limit))
    turn = 0
    while True:
        assert 0 < len(page.items) <= limit
        seen.extend(page.items)
        if page.next_cursor is None:
            break
        turn += 1
        await history.record([skipped(100 + turn), *([skipped(0)] if turn == 1 else [])])
        page = await history.list(ExecutionQuery(limit=limit, cursor=page.next_cursor))
    want = sorted(first, key=lambda row: (row.slot, row.id), reverse=True)
    assert seen == [*want, *([skipped(0)] if turn else [])]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dead_letters", [False, True])
async def test_pages_go_on_over_years(history: History, limit: int, dead_letters: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Whatever part of the history is read first, the order is one, and no row is left out or told twice."""
    now = datetime.now(UTC).replace(microsecond=0)
    days = [1, 0, -30, -61, -62, -63, -64, -200, -400, -4000]
    rows = [replace(FAILURE, id=uuid4(), slot=now + timedelta(days=each), origin=str(uuid4())) for each in days]
    repeats = [
        running(0, cause=Cause.MANUAL, id=uuid4(), origin=str(uuid4()), slot=row.slot, retry_of=row.id)
        for row in rows[1::3]
    ]
    await history.record([*rows, *repeats])
    want = [row.id for row in rows if not dead_letters or row.id not in {each.retry_of for each in repeats}]
    for since, until in ((None, None), (-63, None), (None, -61), (-400, -62), (-3, 5), (-300, -100)):
        bounds = {name: now + timedelta(days=each) for name, each in (("since", since), ("until", until)) if each}
        query = ExecutionQuery(status=FAILED, dead_letters=dead_letters, limit=limit, **bounds)  # type: ignore[arg-type]  # times
        within = [
            row.id
            for row in rows
            if row.id in want
            and bounds.get("since", row.slot) <= row.slot
            and (until is None or row.slot < bounds["until"])
        ]
        assert [row.id for row in await everything(history, query)] == within
    for row in rows:
        assert (await history.get(row.id)).slot == row.slot


async def test_a_dead_letter_is_none_any_more_once_it_is_repeated(history: History) -> None:
    """Whatever becomes of the repetition: then that one is looked at."""
    await history.record([FAILURE])
    assert await everything(history, ExecutionQuery(dead_letters=True)) == [FAILURE]
    await history.record([running(8, namespace="elsewhere", cause=Cause.MANUAL, retry_of=FAILURE.id)])
    assert await everything(history, ExecutionQuery(dead_letters=True)) == [FAILURE], "anybody may write a retryOf"
    assert (await history.summary(T0)).dead_letters == 1
    await history.record([running(9, cause=Cause.MANUAL, retry_of=FAILURE.id)])
    assert await everything(history, ExecutionQuery(dead_letters=True)) == []


NO_REPETITIONS: dict[str, ExecutionRecord] = {
    "one that was refused": skipped(9, cause=Cause.MANUAL, retry_of=FAILURE.id),
    "one that came too late": replace(
        skipped(9, cause=Cause.MANUAL, retry_of=FAILURE.id), status=ExecutionStatus.MISSED
    ),
    "one that was long before": running(-2 * 24 * 60, cause=Cause.MANUAL, retry_of=FAILURE.id),
    "one of another namespace": running(9, cause=Cause.MANUAL, retry_of=FAILURE.id, namespace="others"),
}


@pytest.mark.parametrize("said", NO_REPETITIONS.values(), ids=NO_REPETITIONS.keys())
async def test_a_dead_letter_stays_one_when_nothing_was_repeated(history: History, said: ExecutionRecord) -> None:
    """What never ran is no dead letter itself: the failure would be lost; nor can other namespaces hide it."""
    await history.record([FAILURE, said])
    assert await everything(history, ExecutionQuery(dead_letters=True)) == [FAILURE]
    assert (await history.summary(T0)).dead_letters == 1


async def test_the_summary_counts(history: History) -> None:
    """By status and the dead letters since a time, what runs whenever it began; of some namespaces or of all."""
    await history.record(FILTERED)
    whole = await history.summary(T0 + timedelta(minutes=1))
    assert whole.since == T0 + timedelta(minutes=1)
    assert whole.by_status == {SKIPPED: 2, ExecutionStatus.RUNNING: 1, FAILED: 3, ExecutionStatus.TIMED_OUT: 1}
    assert (whole.running, whole.dead_letters) == (1, 3)
    late = await history.summary(T0 + timedelta(minutes=6), ("default",))
    assert (late.by_status, late.running, late.dead_letters) == ({FAILED: 2}, 1, 2)
    prod = await history.summary(T0, ("prod",))
    assert (prod.by_status, prod.running) == ({SKIPPED: 1, ExecutionStatus.TIMED_OUT: 1}, 0)
    both = await history.summary(T0, ("default", "prod"))
    assert both.by_status == (await history.summary(T0)).by_status
    assert (await history.summary(T0, ("absent", "prod"))).by_status == prod.by_status
    assert (prod.maintained_at, prod.maintenance_error) == (None, None)


async def test_a_full_last_page_has_no_next_one(history: History) -> None:
    """Nobody is sent for an empty page."""
    await history.record([skipped(0), skipped(1)])
    assert (await history.list(ExecutionQuery(limit=2))).next_cursor is None
    assert (await history.list(ExecutionQuery(limit=1))).next_cursor is not None


async def test_a_cursor_outlives_its_row(history: History) -> None:
    """It names a place, not a row: one of another listing serves as well."""
    await history.record([skipped(0), skipped(1), skipped(2)])
    page = await history.list(ExecutionQuery(limit=1))
    assert page.next_cursor is not None
    with pytest.raises(InvalidResourceError, match="cursor"):
        await history.list(ExecutionQuery(cursor=f"{page.next_cursor[:8]}!{page.next_cursor[8:]}"))
    assert page.next_cursor.replace("-", "").replace("_", "").isalnum()
    rest = await history.list(ExecutionQuery(cursor=page.next_cursor, task="backup"))
    assert rest.items == [skipped(1), skipped(0)]


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("", id="empty"),
        pytest.param("2", id="a page number"),
        pytest.param("ünsinn", id="not ASCII"),
        pytest.param("!!!!", id="not base64"),
        pytest.param("A" * 36, id="base64 of something else"),
        pytest.param("A" * 20000, id="long"),
        pytest.param("Y3gxf____________wAAAAAAAAAAAAAAAAAAAAAA", id="a time beyond the calendar"),
        pytest.param("Y3gxf_________8AAAAAAAAAAAAAAAAAAAAA", id="a time beyond the calendar, well-formed"),
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused(history: History, cursor: str) -> None:
    """With the field's name, so that the facade can say which."""
    with pytest.raises(InvalidResourceError) as refused:
        await history.list(ExecutionQuery(cursor=cursor))
    assert [problem.path for problem in refused.value.problems] == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_limit_out_of_bounds_is_refused(history: History, limit: int) -> None:
    """A page is one row at least and 500 at most."""
    with pytest.raises(InvalidResourceError) as refused:
        await history.list(ExecutionQuery(limit=limit))
    assert [problem.path for problem in refused.value.problems] == ["limit"]


async def test_text_that_postgres_refuses_is_cleaned(history: History) -> None:
    """A pod's last words may hold NUL bytes and halves of characters; they must not keep the row from being written."""
    dirty = "out\0 of\ud800 memory"
    words = running_attempt(1), attempt(2, reason="O\0OM", error=dirty, pod_name="p\0")
    row = running(0, pod_name="p\0", attempts=words, result={"k\0": [dirty, float("nan"), 1.5]})
    await history.record([row])
    await history.close([replace(lost(row), reason="O\0OM", message=dirty)])
    stored = await history.get(row.id)
    assert (stored.reason, stored.message, stored.error) == ("OOM", "out of? memory", "out of? memory")
    assert stored.pod_name == "p"
    tried = [(a.reason, a.error, a.pod_name) for a in stored.attempts]
    assert tried == [("OOM", "out of? memory", "backup-1-x"), ("OOM", "out of? memory", "p")]
    assert stored.result == {"k": ["out of? memory", None, 1.5]}


async def test_ping_returns_when_all_is_well(history: History) -> None:
    """And leaves no trace."""
    await history.ping()
    assert await everything(history) == []
