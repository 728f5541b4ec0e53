"""A running elector, on the real clock, with Leases of a second or so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from carillon_core.adapters.memory.leases import MemoryLeases
from carillon_core.errors import ForbiddenError
from carillon_core.ports import JSONObject, Leases
from carillon_operator.leadership.election import Elector, elapsed_seconds
from carillon_operator.lease_settings import LeaseSettings
from support.waiting import eventually

WHERE = ("carillon", "operator")


@dataclass
class Term:
    """The work that an elector starts when it leads; it counts its calls."""

    begun: int = 0
    ended: int = 0
    cancelled: int = 0
    in_good_order: bool = True

    async def lead(self, stop: asyncio.Event) -> bool:
        self.begun += 1
        try:
            await stop.wait()
            return self.in_good_order  # noqa: TRY300  # the end is counted below, whatever it is
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended += 1


class Slow:
    """Leases whose writes are carried out at once and answered later."""

    def __init__(self, leases: MemoryLeases, seconds: float) -> None:
        self._leases, self.seconds = leases, seconds
        self.updates = 0

    async def get(self, namespace: str, name: str) -> JSONObject:
        return await self._leases.get(namespace, name)

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        stored = await self._leases.create(namespace, name, spec)
        await asyncio.sleep(self.seconds)
        return stored

    async def update(self, lease: JSONObject) -> JSONObject:
        stored = await self._leases.update(lease)
        self.updates += 1
        await asyncio.sleep(self.seconds)
        return stored


class Running:
    """A running elector with a Lease of a second or so."""

    def __init__(self, leases: Leases, identity: str, seconds: int = 1) -> None:
        self.elector = Elector(leases, LeaseSettings(*WHERE, identity, seconds), lambda: datetime.now(UTC))
        self.term = Term()
        self.stop = asyncio.Event()
        self.task = asyncio.ensure_future(self.elector.run(self.term.lead, self.stop))

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 5)


async def test_told_to_stop_it_ends_its_term_and_the_next_begins() -> None:
    """The term ends without being cancelled, and the Lease is released after it."""
    leases = MemoryLeases()
    one = Running(leases, "one")
    await eventually(lambda: one.term.begun == 1)
    two = Running(leases, "two")
    await one.end()
    assert (one.term.ended, one.term.cancelled) == (1, 0)
    await eventually(lambda: two.term.begun == 1)
    await two.end()
    assert leases.leases[WHERE]["spec"]["holderIdentity"] == ""


async def test_one_that_cannot_renew_ends_its_term_and_leads_again_when_it_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A long outage of the API server ends the term but not the process."""
    leases = MemoryLeases()
    one = Running(leases, "one")
    await eventually(lambda: one.term.begun == 1)
    leases.outage = "the test says so"
    await eventually(lambda: one.term.cancelled == 1)
    assert not one.elector.leads()
    leases.outage = None
    await eventually(lambda: one.term.begun == 2)
    await one.end()
    assert "lost the Lease, standing by" in caplog.text
    assert "Lease unavailable" in caplog.text


async def test_what_keeps_it_from_the_lease_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The elector logs a missing permission and leads when it is granted."""

    class Closed(MemoryLeases):
        closed = True

        async def get(self, namespace: str, name: str) -> JSONObject:
            if self.closed:
                raise ForbiddenError('cannot get resource "leases"')
            return await super().get(namespace, name)

    leases = Closed()
    one = Running(leases, "one")
    await eventually(lambda: "Lease unavailable" in caplog.text)
    leases.closed = False
    await eventually(lambda: one.term.begun == 1)
    await one.end()


async def test_a_lease_is_kept_to_its_end_while_something_may_be_on_its_way() -> None:
    """After a term with interrupted launches the Lease is not released, so that the next leader waits."""
    leases = MemoryLeases()
    one = Running(leases, "one")
    one.term.in_good_order = False
    await eventually(lambda: one.term.begun == 1)
    await one.end()
    assert leases.leases[WHERE]["spec"]["holderIdentity"] == "one"


async def test_a_term_that_fails_is_told_and_keeps_its_lease_to_its_end() -> None:
    """The error of a term is raised, and the Lease is not released."""

    async def fail(_: asyncio.Event) -> bool:
        raise OSError("the disk is full")

    leases = MemoryLeases()
    elector = Elector(leases, LeaseSettings(*WHERE, "one"), lambda: datetime.now(UTC))
    with pytest.raises(OSError, match="the disk is full"):
        await elector.run(fail, asyncio.Event())
    assert leases.leases[WHERE]["spec"]["holderIdentity"] == "one"


async def test_one_that_is_slow_leads_all_the_same() -> None:
    """Slow responses are sufficient if they arrive before the Lease ends."""
    one = Running(Slow(MemoryLeases(), 0.4), "one")
    await eventually(lambda: one.term.begun == 1)
    await one.end()


async def test_a_first_answer_that_comes_late_does_not_cost_the_lease() -> None:
    """After a late response the elector renews at once instead of waiting for a third of the Lease."""

    class SlowAtFirst(Slow):
        async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
            stored = await super().create(namespace, name, spec)
            self.seconds = 0.0
            return stored

    slow = SlowAtFirst(MemoryLeases(), 1.2)
    one = Running(slow, "one", seconds=3)
    await eventually(lambda: slow.updates >= 3)
    assert (one.term.begun, one.term.cancelled) == (1, 0)
    await one.end()


async def test_one_that_is_too_slow_keeps_the_lease_from_nobody() -> None:
    """An elector whose responses always arrive too late lets others lead."""
    leases = MemoryLeases()
    one = Running(Slow(leases, 0.9), "one")
    await eventually(lambda: WHERE in leases.leases)
    two = Running(leases, "two")
    await eventually(lambda: two.term.begun == 1)
    assert one.term.begun == 0
    await one.end()
    await two.end()


async def test_a_defect_of_an_answer_does_not_end_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged, and the elector tries again."""

    class Odd(MemoryLeases):
        odd = True

        async def get(self, namespace: str, name: str) -> JSONObject:
            if self.odd:
                self.odd = False
                raise KeyError("metadata")
            return await super().get(namespace, name)

    one = Running(Odd(), "one")
    await eventually(lambda: one.term.begun == 1)
    await one.end()
    assert "cannot request the Lease" in caplog.text


async def test_a_call_that_hangs_is_given_up_in_time() -> None:
    """The term ends on time even if the API server does not respond."""

    class Hanging(MemoryLeases):
        hangs = False

        async def get(self, namespace: str, name: str) -> JSONObject:
            if self.hangs:
                await asyncio.Event().wait()
            return await super().get(namespace, name)

    leases = Hanging()
    one = Running(leases, "one")
    await eventually(lambda: one.term.begun == 1)
    leases.hangs = True
    await eventually(lambda: one.term.cancelled == 1)
    leases.hangs = False
    await one.end()


def test_the_clock_only_goes_on() -> None:
    """The elector uses the system's monotonic clock, not the time of day."""
    clock: Callable[[], float] = elapsed_seconds
    assert 0 <= clock() <= clock() < 1_700_000_000
