"""The Events of a task and of its requests, and what is logged about them."""

import pytest

from support.builders import FIRST, at
from support.operator import KEY, Operator, finish, operator, running_row

__all__ = ["operator"]

TASK = "ScheduledTask"
LAUNCHED = (TASK, "Normal", "Launched")
SUCCEEDED = (TASK, "Normal", "ExecutionSucceeded")


def messages(operator: Operator, reason: str) -> list[str]:
    """Return the messages of the Events with a reason."""
    return [each.notice.message for each in operator.cluster.events.values() if each.notice.reason == reason]


async def test_successes_are_one_event(operator: Operator) -> None:
    """So are launches; the counts say how many there were."""
    await operator.create_task(intervalSeconds=30)
    for slot, done in (("00:00:30", "00:00:35"), ("00:01:00", "00:01:05"), ("00:01:30", "00:01:35")):
        await operator.turn(slot)
        operator.cluster.start_pod(KEY[0], operator.job_names()[-1])
        await finish(operator, done, operator.job_names()[-1])
    assert await operator.events() == [(*SUCCEEDED, 3), (*LAUNCHED, 3)]
    assert messages(operator, "ExecutionSucceeded") == [f"Job {operator.job_names()[-1]} succeeded in 5 s"]


async def test_skips_are_one_event(operator: Operator) -> None:
    """The message is that of the latest skip."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    for slot in ("00:01:00", "00:01:30", "00:02:00"):
        await operator.turn(slot)
    assert await operator.events() == [(*LAUNCHED, 1), (TASK, "Warning", "StillActive", 3)]
    assert messages(operator, "StillActive")[0].startswith("the slot of 2026-01-01T00:02:00Z was skipped")


async def test_replacing_is_no_failure(operator: Operator) -> None:
    """One Event says that the execution was replaced; the end that this causes is no Warning."""
    await operator.create_task(intervalSeconds=30, concurrencyPolicy="Replace")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    operator.cluster.finish_pod(KEY[0], FIRST, 6)
    await operator.turn("00:01:01")
    assert await operator.events() == [(*LAUNCHED, 2), (TASK, "Normal", "Replaced", 1)]


async def test_an_execution_that_was_given_up_warns_once(operator: Operator) -> None:
    """The Event about the decision says why; the end of the Job says nothing new."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z")
    await operator.turn("00:00:30")
    pod = (KEY[0], operator.cluster.start_pod(KEY[0], FIRST)["metadata"]["name"])
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    operator.cluster.pods[pod]["status"] = {
        "phase": "Pending",
        "containerStatuses": [{"name": "runner", "state": {"waiting": waiting}}],
    }
    for when in ("00:00:40", "00:01:20", "00:01:21"):
        await operator.turn(when)
    operator.cluster.finish_pod(KEY[0], FIRST, 137)
    await operator.turn("00:01:30")
    assert [event for event in await operator.events() if event[1] == "Warning"] == [
        (TASK, "Warning", "PodCannotStart", 1)
    ]


@pytest.mark.parametrize(("code", "want"), [(0, ("Normal", "ExecutionSucceeded")), (1, ("Warning", "ExecutionFailed"))])
async def test_the_end_of_a_request_is_told_on_the_request_and_on_its_task(
    operator: Operator, code: int, want: tuple[str, str]
) -> None:
    """Who looks at either sees it."""
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:10:00")
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:10:00")
    await finish(operator, "00:10:05", operator.job_names()[0], code)
    assert await operator.events() == sorted(
        [("RunRequest", "Normal", "Launched", 1), ("RunRequest", *want, 1), (TASK, *want, 1)]
    )


@pytest.mark.parametrize("first", ["its pod", "its Job"])
async def test_a_deleted_job_is_an_event(operator: Operator, first: str) -> None:
    """Whoever deletes it: the task says that the execution was cancelled."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:00:31")
    if first == "its pod":
        await operator.cluster.delete_job(KEY[0], FIRST, operator.cluster.jobs[KEY[0], FIRST]["metadata"]["uid"])
    else:
        operator.cluster.delete_job_first(KEY[0], FIRST)
    await operator.turn("00:00:32")
    operator.cluster.finish_pod(KEY[0], FIRST, 6)
    await operator.turn("00:00:33")
    await operator.turn("00:00:34")
    assert await operator.events() == [(*LAUNCHED, 1), (TASK, "Warning", "ExecutionFailed", 1)]
    assert messages(operator, "ExecutionFailed") == [
        f"Job {FIRST} was cancelled (JobDeleted): its Job was deleted while it was active"
    ]


async def test_log_lines_say_what_happened(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    """The message is what happened; no line is called 'notice'."""
    caplog.set_level("INFO")
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    await finish(operator, "00:01:05", FIRST, 1, "boom")
    assert [(r.levelname, r.getMessage()) for r in caplog.records if r.name.endswith("announcer")] == [
        ("INFO", "launched"),
        ("WARNING", "slot skipped"),
        ("WARNING", "execution failed"),
    ]


@pytest.mark.parametrize(("code", "message"), [(0, ""), (3, "no paper")])
async def test_a_container_that_ended_causes_no_warning_about_a_runner(
    operator: Operator, caplog: pytest.LogCaptureFixture, code: int, message: str
) -> None:
    """A container has no runner that could have recorded its end: the operator always does."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task={"container": {"image": "x:1"}})
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await finish(operator, "00:00:35", FIRST, code, message)
    assert operator.rows() == [("00:00:30", "failed", "Error") if code else ("00:00:30", "succeeded", None)]
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == (
        ["execution failed"] if code else []
    )


async def test_an_execution_that_its_runner_left_open_causes_a_warning(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    """Its runner should have recorded the end, and did not."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z")
    await operator.turn("00:00:30")
    await running_row(operator)
    await finish(operator, "00:00:35", FIRST, 1)
    assert "closed an execution that its runner left open" in caplog.text
