"""The input and the outcome of a task, shared by tasks, ``run`` and ``record``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carillon_core.contract import ExecutionStatus
from carillon_runner.environment import Environment


class TaskFailedError(Exception):
    """The task failed; ``reason`` is the class of the error, and the message is one sentence."""

    def __init__(
        self,
        reason: str,
        message: str,
        result: Mapping[str, Any] | None = None,
        *,
        again: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Keep the fields of the row, and a partial result if there is one.

        Args:
            reason: The class.
            message: The sentence.
            result: A partial result.
            again: Whether another attempt may succeed; None: as ``retry.is_tried_again`` decides for the class.
            retry_after: Minimum number of seconds before another attempt.

        """
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.result = result
        self.again = again
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Execution:
    """The input of a task."""

    environment: Environment
    deadline: float
    """When the attempt times out, on ``time.monotonic``'s clock."""
    count: Callable[[str], int]
    """Increment a counter and close the execution's row as succeeded, in one transaction: see ``Record.count``."""
    attempt: int = 1
    """The number of this attempt, from 1."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The fields below the task type."""
        return self.environment.spec


TaskFunction = Callable[[Execution], Mapping[str, Any]]
"""Runs a task and returns its result, a JSON object; raises ``TaskFailedError`` if the task failed."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the server of an HTTP task answered to an attempt."""

    status_code: int
    time_ms: float
    """From sending the request to the end of the response, as in the task's result."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an execution or of an attempt."""

    status: ExecutionStatus
    reason: str | None = None
    error: str | None = None
    """One sentence."""
    result: str | None = None
    """A JSON object, encoded."""
    response: Response | None = None
    """Of an attempt of an HTTP task that got one."""


def storable(text: str) -> str:
    """Return the text as Postgres can store it: without NUL, with lone surrogates replaced."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
