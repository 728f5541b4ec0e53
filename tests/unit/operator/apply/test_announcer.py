"""Events: those of one cause are one with a count, written at a bounded rate; and the lines logged about them."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.errors import ForbiddenError, UnavailableError
from carillon_core.ports import EventSeries
from carillon_core.resources.meta import ObjectMeta
from carillon_operator.apply.announcer import Announcer
from carillon_operator.leadership.endings import end
from support.builders import CREATED
from support.waiting import eventually

TASK = ObjectMeta(name="backup", namespace="default", uid="one")
OTHER = ObjectMeta(name="report", namespace="default", uid="two")


def skip(message: str = "the slot was skipped") -> Notice:
    """Return the Event about a skip."""
    return Notice("Warning", Reason.STILL_ACTIVE, message, "slot skipped")


def success(message: str = "Job x succeeded") -> Notice:
    """Return the Event about a success."""
    return Notice("Normal", Reason.SUCCEEDED, message)


class Bench:
    """An announcer over a cluster in memory; the test moves the clock and has what is due posted."""

    def __init__(self) -> None:
        self.now = CREATED
        self.cluster = MemoryCluster(clock=lambda: self.now)
        self.announcer = Announcer(self.cluster, lambda: self.now)

    async def post(self, *, after: float = 0) -> None:
        """Move the clock and write what is due then; the Event of a marker comes last."""
        self.now += timedelta(seconds=after)
        uid = f"zzz{self.now.timestamp()}"
        self.announcer.announce(ObjectMeta(name="marker", namespace="default", uid=uid), success())
        tasks = [asyncio.ensure_future(each) for each in self.announcer.processes()]
        try:
            await eventually(lambda: any(each.meta.uid == uid for each in self.cluster.events.values()))
        finally:
            await end(tasks)

    def events(self, meta: ObjectMeta = TASK) -> list[tuple[str, str, int]]:
        """Return the reason, the message and the count of each Event about an object."""
        found = [each for each in self.cluster.events.values() if each.meta == meta]
        return [(str(each.notice.reason), each.notice.message, each.count) for each in found]


@pytest.fixture
def bench() -> Bench:
    """Return an announcer that has announced nothing."""
    return Bench()


async def test_the_first_occurrence_is_posted_at_once(bench: Bench) -> None:
    """With the object, the type and the time."""
    bench.announcer.announce(TASK, skip())
    await bench.post()
    event = next(iter(bench.cluster.events.values()))
    assert event == EventSeries(TASK, "ScheduledTask", skip(), CREATED, CREATED, 1)


async def test_skips_of_one_cause_are_one_event_with_a_count(bench: Bench) -> None:
    """The message and the last time are those of the latest."""
    bench.announcer.announce(TASK, skip("slot 0"))
    await bench.post()
    for number in range(1, 10):
        bench.now += timedelta(seconds=1)
        bench.announcer.announce(TASK, skip(f"slot {number}"))
    await bench.post()
    assert bench.events() == [("StillActive", "slot 0", 1)], "it was written nine seconds ago"
    await bench.post(after=1)
    assert bench.events() == [("StillActive", "slot 9", 10)]
    event = next(iter(bench.cluster.events.values()))
    assert (event.first, event.last) == (CREATED, CREATED + timedelta(seconds=9))


async def test_a_task_that_succeeds_every_second_causes_one_write_a_minute(bench: Bench) -> None:
    """One object for all successes in a row."""
    for second in range(181):
        bench.announcer.announce(TASK, success(f"Job {second} succeeded"))
        if second % 5 == 0:
            await bench.post()
        bench.now += timedelta(seconds=1)
    assert bench.events() == [("ExecutionSucceeded", "Job 180 succeeded", 181)]
    assert bench.cluster.event_updates == 3


async def test_other_causes_are_other_events(bench: Bench) -> None:
    """A type, a reason, a cause, an object or a kind that differs makes another Event."""
    for notice in (skip(), success(), replace(skip(), cause="x"), replace(skip(), reason=Reason.CIRCUIT_OPEN)):
        bench.announcer.announce(TASK, notice)
    bench.announcer.announce(OTHER, skip())
    bench.announcer.announce(TASK, skip(), "RunRequest")
    await bench.post()
    assert [count for *_, count in (*bench.events(), *bench.events(OTHER))] == [1] * 6


async def test_an_event_that_has_expired_starts_again(bench: Bench) -> None:
    """The new one counts from then on."""
    bench.announcer.announce(TASK, skip("old"))
    await bench.post()
    bench.cluster.events.clear()
    bench.announcer.announce(TASK, skip("new"))
    await bench.post(after=4000)
    assert bench.events() == [("StillActive", "new", 1)]
    bench.announcer.announce(TASK, skip("newer"))
    await bench.post(after=11)
    assert bench.events() == [("StillActive", "newer", 2)]


class OnlyCreating(MemoryCluster):
    """A cluster whose role for the operator is an older one."""

    async def update_event(self, series: EventSeries, name: str) -> None:
        raise ForbiddenError(f"no patch of {name} for {series.meta.name}")


async def test_a_role_that_permits_no_update_still_gets_events(bench: Bench) -> None:
    """Each write is then a new Event, at the same rate."""
    bench.cluster = OnlyCreating(clock=lambda: bench.now)
    bench.announcer = Announcer(bench.cluster, lambda: bench.now)
    bench.announcer.announce(TASK, skip("one"))
    await bench.post()
    bench.announcer.announce(TASK, skip("two"))
    bench.announcer.announce(TASK, skip("three"))
    await bench.post(after=11)
    assert bench.events() == [("StillActive", "one", 1), ("StillActive", "three", 2)]


class OutOfReach(MemoryCluster):
    """A cluster that takes no Event about the task for a while."""

    down = True

    async def post_event(self, series: EventSeries) -> str:
        if self.down and series.meta == TASK:
            raise UnavailableError("API server", "the test says so")
        return await super().post_event(series)


async def test_what_could_not_be_posted_is_counted_in_the_next(bench: Bench) -> None:
    """An outage loses no occurrence, and stops nothing."""
    bench.cluster = cluster = OutOfReach(clock=lambda: bench.now)
    bench.announcer = Announcer(bench.cluster, lambda: bench.now)
    bench.announcer.announce(TASK, skip("one"))
    await bench.post()
    assert bench.events() == []
    cluster.down = False
    bench.announcer.announce(TASK, skip("two"))
    await bench.post(after=11)
    assert bench.events() == [("StillActive", "two", 2)]


async def test_what_could_not_be_posted_is_tried_again(bench: Bench) -> None:
    """Without another occurrence, as often as its spacing permits."""
    bench.cluster = cluster = OutOfReach(clock=lambda: bench.now)
    bench.announcer = Announcer(bench.cluster, lambda: bench.now)
    bench.announcer.announce(TASK, skip())
    await bench.post()
    cluster.down = False
    await bench.post(after=9)
    assert bench.events() == [], "it was tried nine seconds ago"
    await bench.post(after=1)
    assert bench.events() == [("StillActive", "the slot was skipped", 1)]


@pytest.fixture
def cramped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return an announcer that remembers three Events."""
    monkeypatch.setattr("carillon_operator.apply.announcer.REMEMBERED", 3)
    return bench


async def test_a_full_store_drops_normal_events_before_warnings(cramped: Bench) -> None:
    """Whichever was first."""
    for number in range(3):
        cramped.announcer.announce(TASK, replace(success(), cause=str(number)))
    for number in range(2):
        cramped.announcer.announce(OTHER, replace(skip(), cause=str(number)))
    await cramped.announcer.flush()
    assert [reason for reason, *_ in cramped.events()] == ["ExecutionSucceeded"]
    assert [reason for reason, *_ in cramped.events(OTHER)] == ["StillActive"] * 2


async def test_a_full_store_forgets_first_what_was_posted(cramped: Bench) -> None:
    """Also Warnings: nothing of them is lost but their count."""
    for number in range(3):
        cramped.announcer.announce(OTHER, replace(skip(), cause=str(number)))
    await cramped.announcer.flush()
    for number in range(3):
        cramped.announcer.announce(TASK, replace(success(), cause=str(number)))
    await cramped.announcer.flush()
    assert len(cramped.events(OTHER)) == len(cramped.events()) == 3


async def test_dropped_events_are_logged_once_a_minute(cramped: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With their number since the last time."""
    for number in range(23):
        if number == 21:
            cramped.now += timedelta(seconds=60)
        cramped.announcer.announce(TASK, replace(skip(), cause=str(number)))
    lines = [record for record in caplog.records if record.getMessage() == "events dropped"]
    assert [line.__dict__["fields"]["count"] for line in lines] == [1, 18]


def test_a_log_line_says_what_happened(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Its message is the fixed phrase of the notice, its level that of the Event."""
    caplog.set_level("INFO")
    bench.announcer.report(TASK, skip())
    bench.announcer.report(TASK, success(), "RunRequest")
    first, second = caplog.records
    assert (first.levelname, first.getMessage()) == ("WARNING", "slot skipped")
    assert first.__dict__["fields"] == {
        "task": "default/backup",
        "reason": "StillActive",
        "why": "the slot was skipped",
    }
    assert second.levelname == "INFO"
    assert second.__dict__["fields"]["request"] == "default/backup"
