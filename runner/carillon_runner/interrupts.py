"""Signals: the time-out and the termination of an execution, raised where that is safe and noted elsewhere.

An exception out of a signal handler may come up between any two instructions.
It is let loose only inside ``Interrupts.call``; while the record is written a
signal is noted and changes nothing.
"""

import math
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

from carillon_core.contract import ExecutionStatus

T = TypeVar("T")

AGAIN_SECONDS = 1.0
"""An exception can be lost (Python drops what is raised in a ``__del__``): the time-out's is raised again."""

_TIMED_OUT = (ExecutionStatus.TIMED_OUT, "ran longer than its time-out")
_EXPIRED = (ExecutionStatus.FAILED, "ran longer than the time-out of an attempt")


class Stopped(BaseException):
    """The execution must end now, or, if its status is ``failed``, this attempt.

    Not an ``Exception``, so that no task's own error handling catches it.
    """

    def __init__(self, status: ExecutionStatus, message: str) -> None:
        """Keep the status that the execution ends with, and the reason as a sentence."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.result: Mapping[str, Any] | None = None
        """What a task that passes it on wants to be recorded all the same."""


class Interrupts:
    """The signals of this process; one for each process, made by ``__main__``."""

    def __init__(self) -> None:
        """Change nothing yet: see ``install``."""
        self._armed = False
        self._why: tuple[ExecutionStatus, str] | None = None
        self._raised_at = -math.inf
        self._expiry = _TIMED_OUT

    def install(self) -> None:
        """Take over SIGTERM, SIGINT and SIGALRM."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Ignore them from now on: the end is recorded, and the exit code must be the one that tells it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def call(self, work: Callable[[], T], timeout_seconds: float | None = None, *, is_last: bool = True) -> T:
        """Call ``work`` and return what it returns; whoever catches ``Stopped`` calls ``disarm``.

        Args:
            work: What to call.
            timeout_seconds: When it is to be stopped; None: never.
            is_last: Whether the execution is over then (``timed_out``), or ``work`` alone (``failed``).

        Raises:
            Stopped: It was terminated, now or at any time before, or the time-out has passed.

        """
        try:
            self._expiry = _TIMED_OUT if is_last else _EXPIRED
            self._armed = True
            if self._why is not None:
                raise Stopped(*self._why)
            if timeout_seconds is not None:
                # 0 would be no timer at all
                signal.setitimer(signal.ITIMER_REAL, max(timeout_seconds, 1e-6), AGAIN_SECONDS)
            return work()
        finally:
            self.disarm()

    def disarm(self) -> None:
        """Raise no more: from here on signals are only noted."""
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            self._why = self._why or (ExecutionStatus.CANCELLED, f"terminated by {signal.Signals(number).name}")
        elif self._expiry is _TIMED_OUT:
            self._why = self._why or _TIMED_OUT
        now = time.monotonic()
        # a second signal while the first one's exception unwinds must not come up in the handler of that
        if self._armed and now - self._raised_at >= AGAIN_SECONDS / 2:
            self._raised_at = now
            raise Stopped(*(self._why or self._expiry))
