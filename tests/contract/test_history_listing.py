"""The contract of ``HistoryReader``: filters, pages, dead letters and the summary."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import InvalidResourceError
from carillon_core.ports import ExecutionQuery
from support.history_adapters import REPORT, REQUEST, T0, History, everything, history, running, skipped

__all__ = ["history"]


FAILURE = skipped(4, status=ExecutionStatus.FAILED, reason="HTTP5xx", started_at=T0)
FILTERED = [
    skipped(0),
    skipped(1, task="report", task_uid=REPORT),
    skipped(2, namespace="prod", task_uid=str(UUID(int=3))),
    running(3),
    FAILURE,
    skipped(5, status=ExecutionStatus.TIMED_OUT, reason="Timeout", namespace="prod", started_at=T0),
    skipped(6, status=ExecutionStatus.FAILED, reason="HTTP5xx", cause=Cause.MANUAL, origin=REQUEST, started_at=T0),
    # repeats FAILURE, and has failed as well
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
    "reason": ({"reason": "HTTP5xx"}, [7, 6, 4]),
    "reason, status and cause": ({"reason": "HTTP5xx", "status": FAILED, "cause": Cause.MANUAL}, [7, 6]),
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
    "dead letters for a reason": ({"dead_letters": True, "reason": "HTTP5xx"}, [7, 6]),
    "dead letters that were skipped": ({"dead_letters": True, "status": SKIPPED}, []),
    "dead letters until": ({"dead_letters": True, "until": T0 + timedelta(minutes=6)}, [5]),
    "a namespace that nobody has": ({"namespace": "nowhere"}, []),
    "a quote in a name": ({"task": "b'; DROP TABLE executions --"}, []),
    "a quote in a reason": ({"reason": "b'; DROP TABLE executions --"}, []),
}


@pytest.mark.parametrize(("filters", "want"), FILTERS.values(), ids=FILTERS.keys())
async def test_filters(history: History, filters: dict[str, Any], want: list[int]) -> None:
    """Filters combine, keep the order, and apply on every page."""
    await history.record(FILTERED)
    assert await everything(history, ExecutionQuery(**filters)) == [FILTERED[n] for n in want]
    assert await everything(history, ExecutionQuery(**filters, limit=1)) == [FILTERED[n] for n in want]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 30])
async def test_paging_gives_every_row_once_while_rows_are_inserted(history: History, limit: int) -> None:
    """Newer rows inserted while paging are not seen, older ones are, and no row comes twice."""
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
    """Rows come in order, complete and once each, across all partitions."""
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
    """A repeated failure is no dead letter, whatever the result of the repetition."""
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
    """A repetition that never ran, came before, or is in another namespace does not count."""
    await history.record([FAILURE, said])
    assert await everything(history, ExecutionQuery(dead_letters=True)) == [FAILURE]
    assert (await history.summary(T0)).dead_letters == 1


async def test_the_summary_counts(history: History) -> None:
    """The summary counts statuses and dead letters since a time, and all running executions, by namespace."""
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
    """The last page has no cursor, even if it is full."""
    await history.record([skipped(0), skipped(1)])
    assert (await history.list(ExecutionQuery(limit=2))).next_cursor is None
    assert (await history.list(ExecutionQuery(limit=1))).next_cursor is not None


async def test_a_cursor_outlives_its_row(history: History) -> None:
    """A cursor names a position, so it also works with other filters."""
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
    """The error names the field cursor."""
    with pytest.raises(InvalidResourceError) as refused:
        await history.list(ExecutionQuery(cursor=cursor))
    assert [problem.path for problem in refused.value.problems] == ["cursor"]


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_limit_out_of_bounds_is_refused(history: History, limit: int) -> None:
    """A page has 1 to 500 rows."""
    with pytest.raises(InvalidResourceError) as refused:
        await history.list(ExecutionQuery(limit=limit))
    assert [problem.path for problem in refused.value.problems] == ["limit"]
