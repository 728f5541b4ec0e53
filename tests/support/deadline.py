"""A deadline for code that might never return, so that a test fails instead of hanging."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class DeadlineExceededError(AssertionError):
    """The code under test ran past its deadline."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise ``DeadlineExceededError`` in code that uses more than this many seconds of CPU time.

    Works in the main thread, and on Python code only.
    """

    def give_up(_number: int, _frame: FrameType | None) -> NoReturn:
        msg = f"still running after {seconds} s"
        raise DeadlineExceededError(msg)

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
