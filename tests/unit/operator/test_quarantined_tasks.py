"""A task or a request that the operator cannot work on: it is set aside and says so, and all others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from carillon_core.domain.decision import decide as decisions
from carillon_core.domain.decision import decide_request as decide_request_module
from carillon_operator import request_turn, task_turn
from support.operator import KEY, Operator

if TYPE_CHECKING:
    from carillon_core.domain.observed.jobs import ObservedTask


@pytest.fixture
def operator() -> Operator:
    """Give an operator over empty stores."""
    return Operator()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a defect: deciding about a task with a timeout of 13 s recurses too deeply."""

    def decide(task: ObservedTask, *rest: Any) -> Any:
        if task.spec is not None and task.spec.timeout_seconds == 13:
            raise RecursionError
        return decisions.decide(task, *rest)

    monkeypatch.setattr(task_turn, "decide", decide)


def ready(raw: Any) -> dict[str, Any]:
    """Return an object's Ready condition."""
    (found,) = [c for c in raw["status"]["conditions"] if c["type"] == "Ready"]
    return dict(found)


async def change(operator: Operator, seconds: int) -> None:
    """Edit the task's timeout."""
    raw = await operator.cluster.tasks.get(*KEY)
    await operator.cluster.tasks.replace(*KEY, {**raw, "spec": {**raw["spec"], "timeoutSeconds": seconds}})


@pytest.mark.usefixtures("planted")
async def test_a_task_that_cannot_be_decided_about_says_so_once(operator: Operator) -> None:
    """It is not ready, with the generation that this is true of, and one Event."""
    await operator.create_task(intervalSeconds=30, timeoutSeconds=13)
    await operator.turn("00:00:30")
    await operator.turn("00:01:00")
    raw = await operator.cluster.tasks.get(*KEY)
    assert (ready(raw)["status"], ready(raw)["reason"], ready(raw)["observedGeneration"]) == ("False", "Quarantined", 1)
    assert "it recursed too deeply; change its spec" in ready(raw)["message"]
    assert raw["status"].get("nextScheduleTime") is None
    assert operator.job_names() == []


@pytest.mark.usefixtures("planted")
async def test_a_change_of_the_spec_frees_it(operator: Operator) -> None:
    """The slots that passed meanwhile are recorded as skipped, and none of them is launched."""
    await operator.create_task(intervalSeconds=30, timeoutSeconds=12)
    await operator.turn("00:00:10")
    await change(operator, 13)
    await operator.turn("00:00:40")
    await change(operator, 14)
    await operator.turn("00:01:10")
    assert ready(await operator.cluster.tasks.get(*KEY))["reason"] == "Scheduled"
    assert operator.job_names() == []
    assert operator.rows() == [("00:01:00", "skipped", "Quarantined")]
    await operator.turn("00:01:30")
    assert len(operator.job_names()) == 1


@pytest.mark.usefixtures("planted")
async def test_another_operator_learns_it_from_the_condition(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not look at the spec, and so does not meet the defect."""
    await operator.create_task(intervalSeconds=30, timeoutSeconds=13)
    await operator.turn("00:00:30")
    before = await operator.cluster.tasks.get(*KEY)
    operator.restart()
    monkeypatch.setattr(
        "carillon_core.domain.observed.jobs.parse_spec", lambda *_, **__: pytest.fail("the spec is parsed")
    )
    await operator.turn("00:01:00")
    assert await operator.cluster.tasks.get(*KEY) == before


async def test_a_request_that_cannot_be_decided_about_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For good, with a row; the task that it names goes on."""
    real = decide_request_module.decide_request

    def decide_request(request: Any, *rest: Any) -> Any:
        if request.spec is not None:
            raise MemoryError
        return real(request, *rest)

    monkeypatch.setattr(request_turn, "decide_request", decide_request)
    await operator.create_task(intervalSeconds=30)
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:00:30")
    assert len(operator.job_names()) == 1
    (raw,) = operator.cluster.objects["RunRequest"].values()
    (accepted,) = raw["status"]["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "Quarantined")
    assert ("00:00:00", "failed", "Quarantined") in operator.rows()
