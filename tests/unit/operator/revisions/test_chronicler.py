"""The operator records the specs of tasks: restarts, outages, many edits, deletions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.why.revision import MOST_REVISIONS, TaskRevision, revision_of
from carillon_core.errors import UnavailableError
from carillon_operator.revisions import chronicler as chronicler_module
from carillon_operator.revisions.chronicler import BATCH, MOST_BYTES, Chronicler
from support.operator import KEY, Operator, running
from support.waiting import eventually

DAY = timedelta(days=1)


@pytest.fixture
def operator() -> Operator:
    """Return an operator that has not seen anything yet."""
    return Operator()


def quick(operator: Operator) -> Chronicler:
    """Return a chronicler of the operator's tasks that waits for nothing."""
    term = operator.term
    return Chronicler(operator.revisions, term._view, lambda: operator.now, spacing_seconds=0, pause_seconds=0)  # noqa: SLF001  # the view of the operator


async def recorded(operator: Operator) -> list[int]:
    """Let the operator take a turn and record; return the generations in the history, oldest first."""
    await operator.turn(operator.now + timedelta(seconds=10))
    await operator.term.chronicler.write()
    return sorted(generation for _, generation in operator.revisions.kept)


async def test_each_new_generation_is_recorded(operator: Operator) -> None:
    """Once; a change of the status makes none."""
    await operator.create_task(intervalSeconds=30)
    assert await recorded(operator) == [1]
    assert await recorded(operator) == [1]
    assert operator.revisions.writes == [1]
    (found,) = operator.revisions.kept.values()
    assert (found.namespace, found.task) == KEY
    assert found.spec is not None
    assert found.spec["intervalSeconds"] == 30


async def test_a_restarted_operator_records_only_what_is_lacking(operator: Operator) -> None:
    """It asks the history, and notes that the task still exists."""
    await operator.create_task(intervalSeconds=30)
    await recorded(operator)
    operator.restart()
    operator.now += DAY
    assert await recorded(operator) == [1]
    assert operator.revisions.writes == [1]
    (found,) = operator.revisions.kept.values()
    assert found.last_seen_at == operator.now
    await operator.cluster.tasks.patch(*KEY, {"spec": {"suspend": True}})
    operator.restart()
    assert await recorded(operator) == [1, 2]


async def test_of_quick_edits_only_the_latest_is_recorded(operator: Operator) -> None:
    """A task that changes a thousand times a minute gets a revision every few seconds, not a thousand."""
    await operator.create_task(intervalSeconds=30)
    await recorded(operator)
    for seconds in range(31, 40):
        await operator.cluster.tasks.patch(*KEY, {"spec": {"intervalSeconds": seconds}})
        assert await recorded(operator) == [1]
    chronicler = quick(operator)
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    chronicler.saw(task)
    await chronicler.write()
    assert sorted(generation for _, generation in operator.revisions.kept) == [1, 10]


async def test_nothing_is_lost_while_the_history_is_away(operator: Operator) -> None:
    """What changed meanwhile is recorded as it is when the history is back; launches go on."""
    await operator.create_task(intervalSeconds=30)
    operator.revisions.outage = "connection refused"
    await operator.turn("00:00:30")
    with pytest.raises(UnavailableError):
        await operator.term.chronicler.write()
    assert len(operator.job_names()) == 1
    await operator.cluster.tasks.patch(*KEY, {"spec": {"suspend": True}})
    await operator.turn("00:00:40")
    operator.revisions.outage = None
    await operator.term.chronicler.write()
    assert [generation for _, generation in operator.revisions.kept] == [2]


async def test_the_end_of_a_task_is_noted(operator: Operator) -> None:
    """Then the history knows when it was last seen; a new task of the same name is another one."""
    await operator.create_task(intervalSeconds=30)
    await recorded(operator)
    await operator.cluster.tasks.delete(*KEY)
    operator.now += DAY
    operator.app.store.tasks.drop(KEY, next(iter(operator.revisions.kept))[0])
    await operator.turn(operator.now)
    await operator.term.chronicler.write()
    (found,) = operator.revisions.kept.values()
    assert found.last_seen_at == operator.now
    await operator.create_task(intervalSeconds=60)
    await recorded(operator)
    assert len(operator.revisions.kept) == 2


async def test_existing_tasks_are_confirmed_from_time_to_time(operator: Operator) -> None:
    """Their revisions do not expire."""
    await operator.create_task(intervalSeconds=30)
    await operator.see()
    chronicler, task = quick(operator), operator.app.store.tasks.get(KEY)
    assert task is not None
    chronicler.saw(task)
    await chronicler.write()
    operator.now += DAY
    chronicler.renew()
    await chronicler.write()
    assert operator.revisions.writes == [1]
    (found,) = operator.revisions.kept.values()
    assert found.last_seen_at == operator.now


async def test_many_tasks_are_recorded_in_batches(operator: Operator) -> None:
    """The process does so by itself."""
    for number in range(BATCH + 1):
        body = {"metadata": {"name": f"task-{number}"}, "spec": {"task": {"counter": {}}, "intervalSeconds": 30}}
        await operator.cluster.tasks.create("default", body)
    await operator.see()
    chronicler = quick(operator)
    for number in range(BATCH + 1):
        task = operator.app.store.tasks.get(("default", f"task-{number}"))
        assert task is not None
        chronicler.saw(task)
    async with running(chronicler.run()):
        await eventually(lambda: len(operator.revisions.kept) > BATCH)
    assert operator.revisions.writes == [BATCH, 1]


async def test_large_specs_are_written_apart(operator: Operator) -> None:
    """Together they would hold up the loop."""
    chronicler = quick(operator)
    large = {"http": {"url": "https://example.com", "method": "POST", "body": "x" * (MOST_BYTES - 1000)}}
    for number in range(4):
        body = {"metadata": {"name": f"task-{number}"}, "spec": {"task": large, "intervalSeconds": 30}}
        await operator.cluster.tasks.create("default", body)
    await operator.see()
    for number in range(4):
        task = operator.app.store.tasks.get(("default", f"task-{number}"))
        assert task is not None
        chronicler.saw(task)
    await chronicler.write()
    assert operator.revisions.writes == [2, 2]


async def test_the_history_of_a_task_is_bounded(operator: Operator) -> None:
    """However long its author goes on."""
    await operator.create_task(intervalSeconds=30)
    chronicler = quick(operator)
    for seconds in range(100, 100 + MOST_REVISIONS + 5):
        await operator.cluster.tasks.patch(*KEY, {"spec": {"intervalSeconds": seconds}})
        await operator.see()
        task = operator.app.store.tasks.get(KEY)
        assert task is not None
        chronicler.saw(task)
        await chronicler.write()
        operator.now += timedelta(seconds=1)
    assert len(operator.revisions.kept) == MOST_REVISIONS


async def test_a_revision_that_the_history_rejects_keeps_no_other_from_it(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the others are recorded one by one."""
    for name in ("bad", "good"):
        body = {"metadata": {"name": name}, "spec": {"task": {"counter": {}}, "intervalSeconds": 30}}
        await operator.cluster.tasks.create("default", body)
    await operator.see()
    record = operator.revisions.record

    async def picky(revisions: Sequence[TaskRevision]) -> None:
        if any(each.task == "bad" for each in revisions):
            raise ValueError("too large")
        await record(revisions)

    monkeypatch.setattr(operator.revisions, "record", picky)
    chronicler = quick(operator)
    for name in ("bad", "good"):
        task = operator.app.store.tasks.get(("default", name))
        assert task is not None
        chronicler.saw(task)
    await chronicler.write()
    assert [each.task for each in operator.revisions.kept.values()] == ["good"]
    assert await asyncio.wait_for(chronicler.write(), 1) == 0


@pytest.mark.parametrize("stage", ["made", "measured"])
async def test_a_task_whose_revision_cannot_be_made_keeps_no_other_from_the_history(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    """It is logged once, and the others are recorded, confirmed and renewed."""
    for name in ("bad", "good"):
        body = {"metadata": {"name": name}, "spec": {"task": {"counter": {}}, "intervalSeconds": 30}}
        await operator.cluster.tasks.create("default", body)
    await operator.see()

    def broken(task: ObservedTask, now: datetime) -> TaskRevision:
        if task.meta.name == "bad" and stage == "made":
            raise ValueError("a defect of ours")
        made = revision_of(task, now)
        return replace(made, spec={"half a character": "\ud800"}) if task.meta.name == "bad" else made

    monkeypatch.setattr(chronicler_module, "revision_of", broken)
    chronicler = quick(operator)
    for name in ("bad", "good"):
        task = operator.app.store.tasks.get(("default", name))
        assert task is not None
        chronicler.saw(task)
    await chronicler.write()
    assert [each.task for each in operator.revisions.kept.values()] == ["good"]
    assert caplog.text.count("revision not recorded") == 1
    assert await asyncio.wait_for(chronicler.write(), 1) == 0, "no task waits"
    operator.now += DAY
    chronicler.renew()
    await chronicler.write()
    (found,) = operator.revisions.kept.values()
    assert found.last_seen_at == operator.now


async def test_the_revision_of_a_body_with_half_a_character_is_recorded(operator: Operator) -> None:
    """Its secrets are masked, and the escape stays one."""
    body = '{"token": "x", "a": "\\ud800"}'
    await operator.create_task(
        task={"http": {"url": "https://example.com", "method": "POST", "body": body}}, intervalSeconds=30
    )
    assert await recorded(operator) == [1]
    (found,) = operator.revisions.kept.values()
    assert found.spec is not None
    assert found.spec["task"]["http"]["body"] == '{"token": "***", "a": "\\ud800"}'
