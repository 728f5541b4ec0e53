"""The reconciler, the closer and the sweeper over the memory adapters: which rows are written, and when."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from carillon_core.errors import UnavailableError
from support.builders import FIRST, at
from support.operator import KEY, Operator, operator, running, running_row

__all__ = ["operator"]


async def test_a_database_that_is_away_stops_no_launch_and_loses_no_record(operator: Operator) -> None:
    """Slots are launched while the database is down, and rows are written when it is back."""
    await operator.create_task(intervalSeconds=30)
    operator.history.outage = "connection refused"
    for when in ("00:00:30", "00:01:00"):
        operator.now = at(when)
        await operator.see()
        await operator.term.reconciler.reconcile(KEY)
        await operator.term.statuses.flush()
        await operator.term.reconciler.reconcile(KEY)
    async with running(operator.term.outbox.run()):
        operator.history.outage = None
        await asyncio.wait_for(operator.term.outbox.drained(), 5)
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]


async def test_a_skip_outlives_an_operator_that_is_killed_while_the_database_is_away(operator: Operator) -> None:
    """The next operator records the skip and does not launch the slot."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:01:00")
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    await operator.term.statuses.flush()
    operator.restart()
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:10")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]
    assert (await operator.cluster.tasks.get(*KEY))["status"]["unrecorded"] == []


async def test_a_skip_is_told_to_the_history_only_when_the_status_has_it(operator: Operator) -> None:
    """The row is written after the status, because an operator that dies before may still launch the slot."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:01:00")
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    assert len(operator.term.outbox) == 0
    await operator.term.statuses.flush()
    await operator.term.reconciler.reconcile(KEY)
    assert len(operator.term.outbox) == 1


async def test_a_pod_that_never_recorded_gets_a_row(operator: Operator) -> None:
    """If the runner recorded nothing, the row is written from the pod's status."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.finish_pod(KEY[0], FIRST, exit_code=2, message="killed")
    await operator.turn("00:00:35")
    assert operator.rows() == [("00:00:30", "failed", "Error")]


async def test_what_the_history_refuses_holds_up_nothing_else(operator: Operator) -> None:
    """A refused row is dropped and logged; the other rows are written."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    row = await running_row(operator)
    poison = replace(row, id=uuid4(), task_uid="no uid at all", slot=at("00:05"))
    operator.term.outbox.put([poison, replace(row, id=uuid4(), slot=at("00:06"))])
    await operator.write()
    assert [slot for slot, _, _ in operator.rows()] == ["00:00:30", "00:06:00"]


async def test_a_job_deleted_while_it_runs_closes_its_row(operator: Operator) -> None:
    """The row of a deleted Job is closed as cancelled."""
    await operator.create_task(intervalSeconds=3600)
    await operator.turn("00:00:00")
    operator.now = at("01:00")
    await operator.turn("01:00")
    name = operator.job_names()[0]
    operator.cluster.remove_job(KEY[0], name)
    await operator.turn("01:00:05")
    assert operator.rows() == [("01:00:00", "cancelled", "JobDeleted")]


async def test_the_sweep_closes_what_no_job_stands_behind(operator: Operator) -> None:
    """A running row whose Job was deleted while no operator was running is closed as failed."""
    await operator.create_task(intervalSeconds=3600)
    await running_row(operator)
    await operator.turn("00:02:00")
    await operator.term.sweeper.sweep()
    await operator.write()
    assert operator.rows() == [("00:00:30", "failed", "JobDeleted")]


async def test_the_sweep_leaves_a_row_whose_job_is_there(operator: Operator) -> None:
    """The row of an active execution stays open."""
    await operator.create_task(intervalSeconds=30, concurrencyPolicy="Forbid")
    await operator.turn("00:00:30")
    await running_row(operator)
    operator.now = at("00:10:00")
    await operator.term.sweeper.sweep()
    await operator.write()
    assert operator.rows()[0] == ("00:00:30", "running", None)


async def test_the_sweep_forgets_a_task_whose_deletion_nobody_told(operator: Operator) -> None:
    """A task whose deletion event was lost is not launched again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    await operator.cluster.tasks.delete(*KEY)
    await operator.term.sweep()
    operator.now = at("00:00:30")
    await operator.term.reconciler.reconcile(KEY)
    assert operator.job_names() == []


async def test_the_sweep_does_not_close_what_only_the_watch_has_not_shown(operator: Operator) -> None:
    """The sweep asks the API server whether a Job is gone."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    await running_row(operator)
    operator.restart()
    operator.now = at("00:10:00")
    await operator.term.sweeper.sweep()
    await operator.write()
    assert operator.rows() == [("00:00:30", "running", None)]


async def test_a_row_whose_job_cannot_be_read_stays_open_and_keeps_no_other_open(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep logs it, goes on with the rows of others, and looks at it again the next time."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    row = await running_row(operator)
    await operator.history.record([replace(row, id=uuid4(), slot=at("00:01:00"), job_name="gone")])
    # no API server stores it: it stands for a defect of ours
    operator.cluster.jobs[KEY[0], operator.job_names()[0]]["status"] = {"conditions": [{"status": "True"}]}
    operator.restart()
    operator.now = at("00:10:00")
    await operator.term.sweeper.sweep()
    await operator.write()
    assert operator.rows() == [("00:00:30", "running", None), ("00:01:00", "failed", "JobDeleted")]
    (left,) = (record for record in caplog.records if record.message == "an open row is left to the next sweep")
    assert vars(left)["fields"]["execution"] == str(row.id)


async def test_the_sweep_stops_while_the_api_server_is_away(operator: Operator) -> None:
    """All rows would fail alike."""
    await running_row_of_task(operator)
    operator.cluster.outage = "no response"
    with pytest.raises(UnavailableError):
        await operator.term.sweeper.sweep()


async def running_row_of_task(operator: Operator) -> None:
    """Create a task with an open row that has no Job, a while ago."""
    await operator.create_task(intervalSeconds=3600)
    await running_row(operator)
    await operator.turn("00:02:00")
