"""Leases in memory, for tests of leader election."""

from uuid import uuid4

from carillon_core.adapters.copies import copied
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from carillon_core.ports import JSONObject


class MemoryLeases:
    """``Leases`` over a dictionary.

    Attributes:
        leases: The Leases by namespace and name, as stored.
        outage: While it is set, every call raises ``UnavailableError`` with it.
        lose_next_answer: The next update is made, but ``update`` raises ``UnavailableError``; then it is unset.

    """

    def __init__(self) -> None:
        """Begin with none."""
        self.leases: dict[tuple[str, str], JSONObject] = {}
        self.outage: str | None = None
        self.lose_next_answer = False
        self._version = 0

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a Lease, or raise ``NotFoundError``."""
        self._check()
        try:
            return copied(self.leases[namespace, name])
        except KeyError:
            raise NotFoundError(f'leases "{name}" not found') from None

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a Lease and return it as stored."""
        self._check()
        if (namespace, name) in self.leases:
            raise AlreadyExistsError(f'leases "{name}" already exists')
        return self._put({"metadata": {"namespace": namespace, "name": name, "uid": str(uuid4())}, "spec": spec})

    async def update(self, lease: JSONObject) -> JSONObject:
        """Replace a Lease as it was read, and return it as stored."""
        self._check()
        meta = lease["metadata"]
        found = (await self.get(meta["namespace"], meta["name"]))["metadata"]
        if (meta["uid"], meta["resourceVersion"]) != (found["uid"], found["resourceVersion"]):
            raise ConflictError(f'leases "{meta["name"]}" has been changed in the meantime')
        stored = self._put(lease)
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("API server", "no response in time")
        return stored

    def _check(self) -> None:
        if self.outage is not None:
            raise UnavailableError("API server", self.outage)

    def _put(self, lease: JSONObject) -> JSONObject:
        self._version += 1
        stored = copied(lease)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.leases[stored["metadata"]["namespace"], stored["metadata"]["name"]] = stored
        return copied(stored)
