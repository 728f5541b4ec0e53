"""The port by which a runner records its execution; ``carillon_runner.record`` calls it.

Two adapters implement it: ``adapters.postgres.recorder`` calls the functions of
the schema ``carillon_runner`` over a connection to Postgres, and
``adapters.recorder_client`` asks the recorder, a service that does the same for
the runners of all namespaces. Every operation may be repeated: one that was
carried out, although its answer was lost, changes nothing when it comes again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from carillon_core.errors import CarillonError, UnavailableError

Attempts = Sequence[Mapping[str, Any]]
"""Attempts as ``save_attempts`` stores them: ``number``, ``status``, ``started_at``, and when it has ended ``reason``,
``error`` and ``finished_at``. Times are RFC 3339. An attempt of an HTTP task that got a response also has
``status_code`` and ``response_time_ms``."""


class RecordRefusedError(CarillonError):
    """The record is refused for good; the message says why. Trying again would not help."""

    def __init__(self, message: str, *, is_token: bool = False) -> None:
        """Keep the sentence, and whether it is the token that is refused."""
        super().__init__(message)
        self.is_token = is_token


class RecorderUnavailableError(UnavailableError):
    """Nothing could be recorded now; trying again may help."""

    def __init__(self, what: str, why: str, *, in_doubt: bool, retry_after: float = 0) -> None:
        """Say what is unavailable, and why.

        Args:
            what: ``database`` or ``recorder``.
            why: A phrase.
            in_doubt: Whether the operation may have been carried out.
            retry_after: The least number of seconds before another try.

        """
        super().__init__(what, why)
        self.in_doubt = in_doubt
        self.retry_after = retry_after


class KeyUnknownError(RecorderUnavailableError):
    """The key of the token is not known yet, or never will be; the database is well."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that has begun, and is this pod's."""

    number: int
    at: datetime
    """By the database's clock."""
    age_seconds: float
    """How long ago that was when the database answered."""


@dataclass(frozen=True, slots=True)
class Row:
    """What an execution's row says."""

    status: str
    reason: str | None = None
    error: str | None = None
    result: str | None = None
    """A JSON object, encoded."""
    pod: str | None = None


@dataclass(frozen=True, slots=True)
class Takeover:
    """A request for a row that exists."""

    pod: str
    job: str
    again: bool
    """Whether an earlier try of this process may have been carried out: a row of this pod is then ours."""
    most_attempts: int | None
    """How many attempts the retry policy allows; None if a lost attempt left nothing behind and never counts."""


@dataclass(frozen=True, slots=True)
class End:
    """How an execution ended."""

    status: str
    reason: str | None
    error: str | None
    result: str | None
    """A JSON object, encoded."""
    finished_at: str
    """RFC 3339."""
    attempts: Attempts


class Recorder(Protocol):
    """The row of one execution, which its token names.

    Every method raises ``RecordRefusedError`` and ``RecorderUnavailableError``.
    """

    @property
    def what(self) -> str:
        """What it reaches: ``database`` or ``recorder``."""

    def claim(self, pod: str) -> Begun | None:
        """Insert the row, running, with its first attempt; return None if there is a row already."""

    def look(self) -> Row | None:
        """Return the row, if there is one."""

    def take_over(self, wanted: Takeover) -> Begun | Row | str:
        """Decide under a lock who owns an existing row, and record the decision.

        It is ours if it says that the slot was skipped or missed, or if it
        belongs to a lost pod of our Job and another attempt is allowed.

        Returns:
            The attempt that has begun, if it is ours; the row, if it was of a lost pod and is closed now; else a
            sentence that names its owner.

        """

    def save_attempts(self, pod: str, attempts: Attempts) -> bool:
        """Store attempts of a row that runs in this pod; return whether it does."""

    def increment(self, pod: str, name: str, attempts: Attempts) -> int | None:
        """Increment a counter and close the row as succeeded; return the value, or None if it does not run here."""

    def close(self, pod: str, end: End) -> bool:
        """Close a row that runs in this pod; return whether it did."""

    def disconnect(self) -> None:
        """Give up the connection; the next call opens another."""

    def abandon(self) -> None:
        """Give up the connection, and end what a signal left running on it."""
