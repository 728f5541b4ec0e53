"""The logs of failed containers: in their rows, soon or not at all."""

import asyncio
from datetime import timedelta
from typing import cast
from uuid import uuid4

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_operator.gather.failed_logs import MOST_READ, READERS, FailedLogs
from support.builders import FIRST, at
from support.operator import KEY, Operator, finish, operator, running, together
from support.waiting import eventually

__all__ = ["operator"]

CONTAINER = {"container": {"image": "busybox"}}
POD = f"{FIRST}-pod"
LATE = "carillon_operator.gather.failed_logs.MOST_SECONDS"


async def fail(operator: Operator, log: bytes) -> None:
    """Launch a container that writes a log and fails."""
    await operator.create_task(
        intervalSeconds=30, task=CONTAINER, successfulJobsHistoryLimit=0, failedJobsHistoryLimit=0
    )
    await operator.turn("00:00:30")
    operator.cluster.logs[KEY[0], POD] = log
    await finish(operator, "00:00:33", FIRST, 3, "the end")


def result(operator: Operator) -> object:
    """Return the result in the only row."""
    (row,) = operator.history.rows.values()
    return row.result


async def test_the_row_of_a_failed_container_has_the_end_of_its_log(operator: Operator) -> None:
    """It is read once, from the container that failed; its Job stays until then."""
    await fail(operator, b"it was\nthe end")
    assert result(operator) == {"exitCode": 3, "message": "the end", "log": "it was\nthe end"}
    assert operator.cluster.log_reads == [(KEY[0], POD, "runner")]
    assert operator.cluster.jobs == {}


async def test_a_container_ends_when_its_end_is_seen_however_long_its_log_takes(operator: Operator) -> None:
    """Kubernetes says only the second."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER)
    await operator.turn("00:00:30")
    operator.now = at("00:00:33")
    operator.cluster.finish_pod(KEY[0], FIRST, 3, "the end")
    operator.now = seen = at("00:00:33") + timedelta(milliseconds=200)
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    operator.now += timedelta(seconds=2)
    await operator.write()
    (row,) = operator.history.rows.values()
    assert (row.finished_at, row.attempts[0].finished_at) == (seen, seen)


async def test_no_other_log_is_read(operator: Operator) -> None:
    """Neither that of a container that succeeded, nor that of a runner."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER)
    await operator.turn("00:00:30")
    await finish(operator, "00:00:33", FIRST, 0, "done")
    assert result(operator) == {"exitCode": 0, "message": "done"}
    assert operator.cluster.log_reads == []


async def test_a_log_that_cannot_be_read_in_time_is_not_waited_for(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is recorded without it."""
    monkeypatch.setattr(LATE, 0.01)
    operator.cluster.logs_answer.clear()
    await fail(operator, b"never read")
    assert result(operator) == {"exitCode": 3, "message": "the end"}


async def test_an_operator_that_may_not_read_logs_asks_seldom() -> None:
    """Once for a namespace; each row is recorded without its log."""
    cluster = MemoryCluster()
    cluster.forbidden.add("default")
    logs, said = FailedLogs(cluster), list[str]()
    async with running(together(logs.processes)):
        for _ in range(3):
            logs.ask(uuid4(), "default", PodEnd(False, None, pod_name="p", container="c"), said.append)
            await logs.drained()
    assert said == ["", "", ""]
    assert len(cluster.log_reads) == 1


async def test_a_flood_of_failures_is_read_by_a_few() -> None:
    """The others wait for their turn."""
    cluster = MemoryCluster()
    cluster.logs_answer.clear()
    logs, said, last = FailedLogs(cluster), list[str](), uuid4()
    pod = PodEnd(False, None, pod_name="p", container="c")
    async with running(together(logs.processes)):
        for execution in (*(uuid4() for _ in range(999)), last):
            logs.ask(execution, "default", pod, said.append)
        await eventually(lambda: len(cluster.log_reads) == READERS)
        assert logs.waits(last)
        cluster.logs_answer.set()
        await logs.drained()
    assert said == [""] * 1000
    assert not logs.waits(last)


async def test_a_log_whose_turn_comes_too_late_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row has waited long enough."""
    monkeypatch.setattr(LATE, 0.0)
    cluster = MemoryCluster()
    logs, said = FailedLogs(cluster), list[str]()
    async with running(together(logs.processes)):
        logs.ask(uuid4(), "default", PodEnd(False, None, pod_name="p", container="c"), said.append)
        await logs.drained()
    assert (said, cluster.log_reads) == ([""], [])


async def test_of_a_log_with_long_lines_fewer_are_read() -> None:
    """The API server would cut off their end, which is what matters."""
    cluster = MemoryCluster()
    cluster.pods["default", "p"] = {}
    cluster.logs["default", "p"] = b"".join(b"x" * 10_000 + b"\n" for _ in range(MOST_READ // 5_000)) + b"the end"
    logs, said = FailedLogs(cluster), list[str]()
    async with running(together(logs.processes)):
        logs.ask(uuid4(), "default", PodEnd(False, None, pod_name="p", container="c"), said.append)
        await logs.drained()
    assert said == ["the end"]
    assert len(cluster.log_reads) == 2


async def test_a_row_that_cannot_be_recorded_keeps_no_other_log_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As many defects as there are readers end none of them."""
    cluster = MemoryCluster()
    logs, said = FailedLogs(cluster), list[str]()

    def broken(_: str) -> None:
        raise ValueError("a defect of ours")

    async with running(together(logs.processes)):
        for then in (*[broken] * READERS, said.append):
            logs.ask(uuid4(), "default", PodEnd(False, None, pod_name="p", container="c"), then)
        await asyncio.wait_for(logs.drained(), 5)
    assert said == [""]
    assert caplog.text.count("row of a failed container not recorded") == READERS


async def test_a_log_that_fails_to_be_read_in_another_way_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Its row is recorded without it."""
    cluster = MemoryCluster()
    cluster.pods["default", "p"] = {}
    cluster.logs["default", "p"] = cast("bytes", "no bytes: a defect of ours")
    logs, said = FailedLogs(cluster), list[str]()
    async with running(together(logs.processes)):
        logs.ask(uuid4(), "default", PodEnd(False, None, pod_name="p", container="c"), said.append)
        await asyncio.wait_for(logs.drained(), 5)
    assert said == [""]
    assert "log of a failed container not read" in caplog.text
