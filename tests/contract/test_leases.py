"""The contract of ``Leases``, for each adapter; the API server is real."""

from typing import NamedTuple

import pytest

from carillon_core.adapters.kube import KubeLeases
from carillon_core.adapters.memory.leases import MemoryLeases
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError
from carillon_core.ports import Leases

SPEC = {
    "holderIdentity": "one",
    "leaseDurationSeconds": 6,
    "acquireTime": "2026-05-04T03:02:01.000000Z",
    "renewTime": "2026-05-04T03:02:01.000000Z",
    "leaseTransitions": 0,
}


class Given(NamedTuple):
    """An adapter, and the test's own namespace."""

    leases: Leases
    namespace: str


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Give each adapter in turn."""
    if request.param == "memory":
        return Given(MemoryLeases(), "test")
    return Given(KubeLeases(request.getfixturevalue("connection")), request.getfixturevalue("namespace"))


async def test_a_lease_is_created_once_and_read_as_it_was_written(given: Given) -> None:
    """Times are returned unchanged, because a process recognises its own record by them."""
    with pytest.raises(NotFoundError):
        await given.leases.get(given.namespace, "leader")
    created = await given.leases.create(given.namespace, "leader", SPEC)
    assert created["spec"] == SPEC
    assert await given.leases.get(given.namespace, "leader") == created
    with pytest.raises(AlreadyExistsError):
        await given.leases.create(given.namespace, "leader", SPEC | {"holderIdentity": "two"})


async def test_a_lease_is_updated_only_as_it_was_read(given: Given) -> None:
    """If two candidates take the same Lease, only one gets it."""
    first = await given.leases.create(given.namespace, "leader", SPEC)
    second = await given.leases.update(first | {"spec": SPEC | {"holderIdentity": "two"}})
    assert second["spec"]["holderIdentity"] == "two"
    with pytest.raises(ConflictError):
        await given.leases.update(first | {"spec": SPEC | {"holderIdentity": "three"}})
    assert await given.leases.get(given.namespace, "leader") == second


async def test_a_released_lease_says_so(given: Given) -> None:
    """The API server stores an empty holder."""
    first = await given.leases.create(given.namespace, "leader", SPEC)
    released = await given.leases.update(first | {"spec": SPEC | {"holderIdentity": ""}})
    assert (await given.leases.get(given.namespace, "leader"))["spec"].get("holderIdentity") == ""
    assert released["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
