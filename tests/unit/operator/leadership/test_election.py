"""The election: several candidates for one Lease in memory, turn by turn, on a clock that the test sets."""

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
    """A Lease, its candidates, and a clock that the test sets."""

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
    """Return a world without a Lease."""
    return World()


async def test_the_first_creates_the_lease_and_leads(world: World) -> None:
    """The second candidate stands by."""
    one, two = world.candidate("one"), world.candidate("two")
    assert not one.leads()
    assert await one.attempt()
    assert one.leads()
    assert not await two.attempt()
    assert not two.leads()
    assert (world.spec["holderIdentity"], world.spec["leaseTransitions"]) == ("one", 0)


async def test_a_leader_that_renews_leads_on(world: World) -> None:
    """The others wait as long as the leader renews."""
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
    """The Lease's duration counts from when the other candidate saw the last renewal."""
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
    """The leader stops after two thirds of the Lease, before another candidate can take it."""
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
    """At most one candidate leads, for any step of time and any order of attempts."""
    for step in (0.3, 0.7, 1.1, 1.9, 3.1, 5.3, 7.7):
        world.leases.leases.clear()
        electors = [world.candidate(name) for name in ("one", "two", "three")]
        for turn in range(60):
            awake = electors[turn // 7 % 3 :]  # the others sleep for some turns
            for each in awake:
                try:
                    await each.attempt()
                except ConflictError:
                    continue
                assert sum(e.leads() for e in electors) <= 1
            world.pass_time(step)
            assert sum(e.leads() for e in electors) <= 1


async def test_a_leader_that_was_replaced_learns_it_at_its_next_attempt(world: World) -> None:
    """The leader stops even if its own clock would allow it to continue."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await two.attempt()
    world.spec["holderIdentity"] = ""
    assert await two.attempt()
    assert not await one.attempt()
    assert not one.leads()


async def test_a_renewal_is_due_a_third_after_the_last_was_sent(world: World) -> None:
    """The time of the next renewal counts from when the last one was sent, however long the response took."""

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
    """A candidate that releases the Lease stops leading, and releases no Lease of others."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    assert not await two.attempt()
    await one.release()
    assert not one.leads()
    assert world.spec["holderIdentity"] == ""
    assert await two.attempt()
    await one.release()
    assert world.spec["holderIdentity"] == "two", "it releases only its own Lease"


async def test_a_lease_that_is_deleted_is_waited_out(world: World) -> None:
    """If the Lease is deleted, its holder may still lead, so the others wait for its duration."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    assert not await two.attempt()
    world.leases.leases.clear()
    assert not await two.attempt()
    assert one.leads()
    world.pass_time(SECONDS)
    assert await two.attempt()


async def test_of_two_who_take_it_at_once_one_gets_it(world: World) -> None:
    """The Lease's resourceVersion decides between two candidates."""
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
    """Candidates never compare the times that are written in the Lease."""
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
    """The clock counts time during sleep, so the leader stops before its first write."""
    one = world.candidate("one")
    await one.attempt()
    world.elapsed += 3600
    assert not one.leads()


async def test_a_renewal_whose_answer_got_lost_is_known_again(world: World) -> None:
    """The leader recognises its own record and leads on."""
    one = world.candidate("one")
    world.leases.lose_next_answer = True
    await one.attempt()
    with pytest.raises(UnavailableError):
        await one.attempt()
    world.pass_time(1)
    assert await one.attempt()
    assert (one.leads(), world.spec["leaseTransitions"]) == (True, 0)


async def test_an_acquisition_whose_answer_got_lost_is_not_waited_out(world: World) -> None:
    """The candidate finds its own record in the Lease and leads without waiting."""
    one, two = world.candidate("one"), world.candidate("two")
    await one.attempt()
    await one.release()
    world.leases.lose_next_answer = True
    with pytest.raises(UnavailableError):
        await two.attempt()
    assert not two.leads()
    assert await two.attempt()


async def test_a_new_process_of_the_same_name_waits_as_any_other(world: World) -> None:
    """The previous process with this identity may still be running."""
    former, new = world.candidate("same"), world.candidate("same")
    await former.attempt()
    world.pass_time(1)
    assert not await new.attempt()
    world.pass_time(SECONDS)
    assert await new.attempt()


async def test_the_holder_says_how_long_its_lease_lasts(world: World) -> None:
    """A candidate with a shorter setting waits for the duration that the holder wrote."""
    one, two = world.candidate("one", seconds=60), world.candidate("two")
    await one.attempt()
    await two.attempt()
    world.pass_time(39)
    assert one.leads()
    assert not await two.attempt()
    world.pass_time(21)
    assert await two.attempt()


async def test_a_lease_without_a_word_in_it_is_free(world: World) -> None:
    """A candidate takes an empty Lease and keeps its other fields."""
    await world.leases.create(*WHERE, {"strategy": "kept"})
    assert await world.candidate("one").attempt()
    assert world.spec["strategy"] == "kept"
    assert world.spec["holderIdentity"] == "one"
