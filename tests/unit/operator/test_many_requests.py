"""A task with thousands of requests: a turn costs what changed, and the number that is kept is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from carillon_operator import request_turn
from carillon_operator.gather.handlers import feed
from support.operator import KEY, Operator


@pytest.fixture
def operator() -> Operator:
    """Give an operator over empty stores."""
    return Operator()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the requests that were decided about, in order."""
    found: list[str] = []
    real = request_turn.decide_request  # type: ignore[attr-defined]  # imported there

    def decide_request(request: Any, *rest: Any) -> Any:
        found.append(request.meta.name)
        return real(request, *rest)

    monkeypatch.setattr(request_turn, "decide_request", decide_request)
    return found


async def finished_requests(operator: Operator, count: int) -> None:
    """Have so many requests of the task finish, each with its Job, in one round."""
    for number in range(count):
        operator.cluster.put_object("RunRequest", KEY[0], f"r{number:04}", {"taskRef": {"name": KEY[1]}})
    await operator.see()
    for _ in range(count // 50 + 2):
        await operator.term.reconciler.reconcile(KEY)
    for job in list(operator.cluster.jobs.values()):
        if not (job.get("status") or {}).get("conditions"):
            operator.cluster.finish_pod(KEY[0], job["metadata"]["name"], exit_code=0)
    await operator.see()
    for _ in range(count // 50 + 2):
        await operator.settle()


def kept(operator: Operator) -> list[str]:
    """Return the names of the requests that exist, in order."""
    return sorted(name for _, name in operator.cluster.objects["RunRequest"])


async def test_a_turn_looks_at_what_changed(operator: Operator, looks: list[str]) -> None:
    """Requests that have ended, and whose time to live is not over, cost nothing."""
    await operator.create_task(intervalSeconds=3600, concurrencyPolicy="Allow")
    await finished_requests(operator, 90)
    assert {row.status.value for row in operator.history.rows.values()} <= {"succeeded"}
    looks.clear()
    await operator.term.reconciler.reconcile(KEY)
    assert looks == []
    raw = operator.cluster.put_object("RunRequest", KEY[0], "new", {"taskRef": {"name": KEY[1]}})
    feed(operator.app.store, operator.app.queue, "RunRequest", "ADDED", raw)
    await operator.term.reconciler.reconcile(KEY)
    assert looks == ["new"]
    assert len(operator.app.store.jobs.under(KEY)) < 5, "each turn looks at the Jobs of requests that ended"


async def test_a_thousand_changes_are_many_small_turns(operator: Operator, looks: list[str]) -> None:
    """The task's own slot is decided about in each of them."""
    await operator.create_task(intervalSeconds=3600, concurrencyPolicy="Allow")
    for number in range(200):
        operator.cluster.put_object("RunRequest", KEY[0], f"r{number:04}", {"taskRef": {"name": KEY[1]}})
    await operator.see()
    operator.app.queue.close()
    operator.app.queue.open()
    await operator.term.reconciler.reconcile(KEY)
    assert 0 < len(looks) <= 50
    assert await operator.app.queue.take() == KEY, "the rest gets another turn"


async def test_the_oldest_finished_requests_go_first(operator: Operator) -> None:
    """A task keeps as many as it says."""
    await operator.create_task(intervalSeconds=3600, concurrencyPolicy="Allow", finishedRequestsHistoryLimit=3)
    await finished_requests(operator, 20)
    assert len(kept(operator)) == 3
    await operator.see()
    await operator.turn("00:10:00")
    assert len(kept(operator)) == 3


async def test_a_request_is_kept_until_its_end_is_recorded(operator: Operator) -> None:
    """With the database away, nothing is deleted."""
    await operator.create_task(intervalSeconds=3600, finishedRequestsHistoryLimit=0, suspend=True)
    operator.cluster.put_object(
        "RunRequest", KEY[0], "late", {"taskRef": {"name": KEY[1]}, "runAt": "2026-01-01T00:00:00Z"}
    )
    await operator.turn("00:00:10")
    operator.cluster.finish_pod(KEY[0], operator.job_names()[0], exit_code=1)
    await operator.see()
    for _ in range(3):
        await operator.term.reconciler.reconcile(KEY)
        await operator.term.statuses.flush()
    assert kept(operator) == ["late"]
    await operator.settle()
    await operator.turn("00:00:20")
    assert kept(operator) == []
