"""The registry of token keys in memory, for tests."""

from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.errors import UnavailableError


class MemoryRunnerKeys:
    """``RunnerKeys`` over a list.

    Attributes:
        registered: The ids of the keys, in the order of their registrations, with repetitions.
        outage: While it is set, every call raises ``UnavailableError`` with it.

    """

    def __init__(self) -> None:
        """Begin with no key."""
        self.registered: list[str] = []
        self.outage: str | None = None

    async def register(self, key: TokenKey) -> None:
        """Register a key."""
        if self.outage is not None:
            raise UnavailableError("database", self.outage)
        self.registered.append(key.id)
