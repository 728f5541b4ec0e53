"""Who leads: several candidates for one Lease in memory, turn by turn, on a clock that the test sets."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from carillon_core.adapters.memory.leases import MemoryLeases
from carillon_core.errors import ConflictError, UnavailableError
from carillon_core.ports import JSONObject
from carillon_operator.leadership.election import Elector
from carillon_operator.lease_settings import LeaseSettings

SECONDS = 6
WHERE = ("carillon", "operator")


class World:
    """A Lease, and candidates for it; time passes when the test says so."""

    def __init__(self) -> None:
        self.leases = MemoryLeases()
        self.elapsed = 1000.0
        self.wall = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

    def candidate(self, identity: str, seconds: int = SECONDS) -> Elector:
        settings = LeaseSettings(*WHERE, identity, seconds)
        return Elector(self.leases, settings, lambda: self.wall, lambda: self.elapsed)

    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds
        self.wall += timedelta(seconds=seconds)

    @property
    def spec(self) -> JSONObject:
        spec: JSONObject = self.leases.leases[WHERE]["spec"]
        return spec


@pytest.fixture
def world() -> World:
    """Give a world without a Lease."""
    return World()


async def test_the_first_creates_the_lease_and_leads(world: World) -> None:
    """And whoever comes then stands by."""
    one, two = world.candidate("one"), world.candidate("two")
    assert not one.leads()
    assert await one.attempt()
    assert one.leads()
    assert not await two.attempt()
    assert not two.leads()
    assert (world.spec["holderIdentity"], world.spec["leaseTransitions"]) == ("one", 0)


async def test_a_leader_that_renews_leads_on(world: World) -> None:
    """For any time, and the others wait."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    acquired = world.spec["acquireTime"]
    for _ in range(50):
        world.pass_time(2)
        assert one.leads()
        assert await one.attempt()
        assert not await two.attempt()
    assert world.spec["acquireTime"] == acquired
    assert world.spec["renewTime"] == world.wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_a_leader_that_is_gone_is_replaced_after_the_lease(world: World) -> None:
    """Not sooner, counted from when the other saw its last renewal."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    world.pass_time(1)
    assert not await two.attempt()
    world.pass_time(5.9)
    assert not await two.attempt()
    world.pass_time(0.1)
    assert await two.attempt()
    assert (world.spec["holderIdentity"], world.spec["leaseTransitions"]) == ("two", 1)


async def test_a_leader_that_cannot_renew_stops_before_another_begins(world: World) -> None:
    """After two thirds of the Lease; what it wrote last was seen by the others no earlier than it was sent."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await two.attempt()
    world.leases.outage = "the test says so"
    world.pass_time(3.9)
    with pytest.raises(UnavailableError):
        await one.attempt()
    assert one.leads()
    world.pass_time(0.1)
    assert not one.leads()
    world.leases.outage = None
    assert not await two.attempt()


async def test_a_leader_never_overlaps_with_another(world: World) -> None:
    """Whatever the step of time, and whoever is asked first: never do two lead at one moment."""
    for step in (0.3, 0.7, 1.1, 1.9, 3.1, 5.3, 7.7):
        world.leases.leases.clear()
        electors = [world.candidate(name) for name in ("one", "two", "three")]
        for turn in range(60):
            awake = electors[turn // 7 % 3 :]  # some sleep for a while
            for each in awake:
                try:
                    await each.attempt()
                except ConflictError:
                    continue
                assert sum(e.leads() for e in electors) <= 1
            world.pass_time(step)
            assert sum(e.leads() for e in electors) <= 1


async def test_a_leader_that_was_replaced_learns_it_at_its_next_attempt(world: World) -> None:
    """Also if its own clock would let it go on."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await two.attempt()
    world.spec["holderIdentity"] = ""
    assert await two.attempt()
    assert not await one.attempt()
    assert not one.leads()


async def test_a_renewal_is_due_a_third_after_the_last_was_sent(world: World) -> None:
    """However long the answer took: or a slow API server would cost a Lease that was just acquired."""

    class Slow(MemoryLeases):
        async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
            stored = await super().create(namespace, name, spec)
            world.pass_time(1.5)
            return stored

        async def update(self, lease: JSONObject) -> JSONObject:
            stored = await super().update(lease)
            world.pass_time(3.5)
            return stored

    world.leases = Slow()
    one = world.candidate("one")
    await one.attempt()
    assert one.renewal_in() == pytest.approx(0.5)
    world.pass_time(0.5)
    await one.attempt()
    assert one.renewal_in() == 0
    assert one.leads()


async def test_a_released_lease_is_taken_at_once(world: World) -> None:
    """Whoever gives it back leads no more."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    assert not await two.attempt()
    await one.release()
    assert not one.leads()
    assert world.spec["holderIdentity"] == ""
    assert await two.attempt()
    await one.release()
    assert world.spec["holderIdentity"] == "two", "it gives back nothing that is not its own"


async def test_a_lease_that_is_deleted_is_waited_out(world: World) -> None:
    """Whoever held it does not know yet, and goes on until it would renew."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    assert not await two.attempt()
    world.leases.leases.clear()
    assert not await two.attempt()
    assert one.leads()
    world.pass_time(SECONDS)
    assert await two.attempt()


async def test_of_two_who_take_it_at_once_one_gets_it(world: World) -> None:
    """The version of the Lease decides."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    world.pass_time(SECONDS)
    first, second = world.candidate("three"), two
    await first.attempt()
    await second.attempt()
    world.pass_time(SECONDS)
    outcomes = await asyncio.gather(first.attempt(), second.attempt(), return_exceptions=True)
    assert sum(outcome is True for outcome in outcomes) == 1
    assert first.leads() != second.leads()


async def test_a_jump_of_the_time_of_day_changes_nothing(world: World) -> None:
    """It is written for people; nobody compares it."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await two.attempt()
    for jump in (timedelta(days=365), timedelta(days=-730)):
        world.wall += jump
        assert one.leads()
        assert not await two.attempt()
        assert await one.attempt()
        assert not await two.attempt()


async def test_a_leader_that_slept_leads_no_more(world: World) -> None:
    """Its clock counts the sleep: it is over before the first write."""
    one = world.candidate("one")
    await one.attempt()
    world.elapsed += 3600
    assert not one.leads()


async def test_a_renewal_whose_answer_got_lost_is_known_again(world: World) -> None:
    """The record is its own, and it goes on without a loss."""
    one = world.candidate("one")
    world.leases.lose_next_answer = True
    await one.attempt()
    with pytest.raises(UnavailableError):
        await one.attempt()
    world.pass_time(1)
    assert await one.attempt()
    assert (one.leads(), world.spec["leaseTransitions"]) == (True, 0)


async def test_an_acquisition_whose_answer_got_lost_is_not_waited_out(world: World) -> None:
    """The candidate finds itself as the holder, by the time that it wrote."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await one.release()
    world.leases.lose_next_answer = True
    with pytest.raises(UnavailableError):
        await two.attempt()
    assert not two.leads()
    assert await two.attempt()


async def test_a_new_process_of_the_same_name_waits_as_any_other(world: World) -> None:
    """Its former self may not have ended yet."""
    former, new = world.candidate("same"), world.candidate("same")
    await former.attempt()
    world.pass_time(1)
    assert not await new.attempt()
    world.pass_time(SECONDS)
    assert await new.attempt()


async def test_the_holder_says_how_long_its_lease_lasts(world: World) -> None:
    """A candidate with a shorter one, during a roll-out, does not take it early."""
    one, two = world.candidate("one", seconds=60), world.candidate("two")
    await one.attempt()
    await two.attempt()
    world.pass_time(39)
    assert one.leads()
    assert not await two.attempt()
    world.pass_time(21)
    assert await two.attempt()


async def test_a_lease_without_a_word_in_it_is_free(world: World) -> None:
    """As the chart, or a person, may have made it; what else is in it stays."""
    await world.leases.create(*WHERE, {"strategy": "kept"})
    assert await world.candidate("one").attempt()
    assert world.spec["strategy"] == "kept"
    assert world.spec["holderIdentity"] == "one"
