"""The keys that sign execution tokens."""

from typing import Protocol

from carillon_core.domain.launch.execution_token import TokenKey


class RunnerKeys(Protocol):
    """Where the keys are known that sign the tokens of executions."""

    async def register(self, key: TokenKey) -> None:
        """Have a key known, so that runners with its tokens may record; one that is used no more is forgotten in time.

        Raises:
            UnavailableError: It is out of reach: runners wait.

        """
        ...
