"""The keys that sign execution tokens."""

from typing import Protocol

from carillon_core.domain.launch.execution_token import TokenKey


class RunnerKeys(Protocol):
    """The registry of the keys that sign execution tokens."""

    async def register(self, key: TokenKey) -> None:
        """Register a key, so that runners with its tokens may record; unused keys are removed later.

        Raises:
            UnavailableError: The registry is unavailable: runners wait.

        """
        ...
