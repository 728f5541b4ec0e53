"""What a task is given, and what became of it; tasks, ``run`` and ``record`` share these."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carillon_core.contract import ExecutionStatus
from carillon_runner.environment import Environment


class TaskFailedError(Exception):
    """The task came to its end and failed; ``reason`` is the class of the error, the message one sentence."""

    def __init__(
        self,
        reason: str,
        message: str,
        result: Mapping[str, Any] | None = None,
        *,
        again: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep what the row shall say, and the result if there is one all the same.

        Args:
            reason: The class.
            message: The sentence.
            result: What there is of a result.
            again: Whether another attempt may mend it; None: as ``retry.is_tried_again`` says of the class.
            retry_after: How many seconds another attempt has to wait at least.

        """
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.result = result
        self.again = again
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Execution:
    """What a task may use."""

    environment: Environment
    deadline: float
    """When the time-out of the attempt strikes, on ``time.monotonic``'s clock."""
    count: Callable[[str], int]
    """Increment a counter and close the execution's row as succeeded, in one transaction: see ``Record.count``."""
    attempt: int = 1
    """The number of this attempt, from 1."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What stands below the task type."""
        return self.environment.spec


TaskFunction = Callable[[Execution], Mapping[str, Any]]
"""Runs a task and returns its result, a JSON object; raises ``TaskFailedError`` if the task failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an execution."""

    status: ExecutionStatus
    reason: str | None = None
    error: str | None = None
    """One sentence."""
    result: str | None = None
    """A JSON object, encoded."""


def storable(text: str) -> str:
    """Return the text as Postgres can keep it: without NUL, and lone surrogates replaced."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
