"""Signals: the timeout and the termination of an execution, raised where it is safe and noted elsewhere.

A signal handler may raise between any two instructions. It raises only inside
``Interrupts.call``; while the record is written, a signal is noted only.
"""

import math
import signal
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

from carillon_core.contract import ExecutionStatus

T = TypeVar("T")

AGAIN_SECONDS = 1.0
"""The exception of a timeout is raised again after this time: a library may catch it where it catches everything."""
SOON_SECONDS = 0.01
"""Python drops exceptions raised in ``__del__`` and the like. One that was dropped is raised again after this time."""

_TIMED_OUT = (ExecutionStatus.TIMED_OUT, "exceeded its timeout")
_EXPIRED = (ExecutionStatus.FAILED, "exceeded the timeout of an attempt")


class Stopped(BaseException):
    """The execution must end now, or, if its status is ``failed``, this attempt.

    Not an ``Exception``, so that no task's own error handling catches it.
    """

    def __init__(self, status: ExecutionStatus, message: str) -> None:
        """Keep the execution's final status and the reason as a sentence."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.result: Mapping[str, Any] | None = None
        """A partial result that the task wants recorded."""


class Interrupts:
    """The signal handlers of this process, created once by ``__main__``."""

    def __init__(self) -> None:
        """Create without installing the handlers: see ``install``."""
        self._armed = False
        self._why: tuple[ExecutionStatus, str] | None = None
        self._raised_at = -math.inf
        self._expiry = _TIMED_OUT

    def install(self) -> None:
        """Take over SIGTERM, SIGINT and SIGALRM."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._receive)
        sys.unraisablehook = self._dropped

    def ignore(self) -> None:
        """Ignore these signals: the end is recorded, and the exit code must agree with it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def call(self, work: Callable[[], T], timeout_seconds: float | None = None, *, is_last: bool = True) -> T:
        """Call ``work`` and return its result. A caller that catches ``Stopped`` calls ``disarm``.

        Args:
            work: What to call.
            timeout_seconds: Stop ``work`` after this time; None: never.
            is_last: Whether the timeout ends the execution (``timed_out``) or only ``work`` (``failed``).

        Raises:
            Stopped: The process was told to terminate, now or earlier, or the timeout has passed.

        """
        try:
            self._expiry = _TIMED_OUT if is_last else _EXPIRED
            self._armed = True
            if self._why is not None:
                raise Stopped(*self._why)
            if timeout_seconds is not None:
                # 0 would disable the timer
                signal.setitimer(signal.ITIMER_REAL, max(timeout_seconds, 1e-6), AGAIN_SECONDS)
            return work()
        finally:
            self.disarm()

    def disarm(self) -> None:
        """Stop raising; signals are only noted from here on."""
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _dropped(self, what: "sys.UnraisableHookArgs") -> None:
        if what.exc_type is not Stopped:
            sys.__unraisablehook__(what)
        elif self._armed:
            self._raised_at = -math.inf
            self._receive_again_soon()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            self._why = self._why or (ExecutionStatus.CANCELLED, f"terminated by {signal.Signals(number).name}")
        elif self._expiry is _TIMED_OUT:
            self._why = self._why or _TIMED_OUT
        now = time.monotonic()
        # a second signal must not raise while the exception of the first one unwinds
        if self._armed and now - self._raised_at >= AGAIN_SECONDS / 2:
            if self._would_be_dropped(frame):
                self._receive_again_soon()
                return
            self._raised_at = now
            raise Stopped(*(self._why or self._expiry))

    def _receive_again_soon(self) -> None:
        # a timeout comes again and again; SIGTERM does not, so that it interrupts no cleanup
        again = AGAIN_SECONDS if self._why in {None, _TIMED_OUT} else 0
        signal.setitimer(signal.ITIMER_REAL, SOON_SECONDS, again)

    def _would_be_dropped(self, frame: FrameType | None) -> bool:
        """Return whether Python is printing a dropped exception or a warning; it drops what is raised meanwhile."""
        while frame is not None:
            if frame.f_code is self._dropped.__code__ or frame.f_code.co_name == "_showwarnmsg":
                return True
            frame = frame.f_back
        return False
