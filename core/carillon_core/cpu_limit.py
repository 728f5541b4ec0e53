"""A limit on the CPU time that one piece of synchronous work may take: a defect in it ends the work, not the process.

``CPU_LIMIT.run(work)`` raises ``TooMuchWorkError`` when the work has used its CPU time. A thread looks at all work in
progress a few times a second and raises an exception in the thread whose work does not end
(``PyThreadState_SetAsyncExc`` of Python's C API). That ends any loop of Python code. It does not end a call into C that
never returns; ``stuck`` tells the owner of the process about that.

Time that the thread waits for a core does not count, so a
busy machine, or one that was suspended, ends nothing.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from carillon_core.errors import TooMuchWorkError

ResultT = TypeVar("ResultT")

LOOK_SECONDS = 0.25
"""How often work in progress is looked at."""
SECONDS = 2.0
"""The CPU time that a piece of work may take. Normal work takes a few milliseconds."""
TURNS = 100
"""Turns of an empty loop. A pending exception comes in the first."""
STUCK_SECONDS = 10.0
"""The CPU time after which work counts as impossible to end."""


class _Section:
    """One piece of work, of one thread."""

    __slots__ = ("ended", "seconds", "since", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.since: float | None = None
        """The thread's CPU time when the section was first looked at."""
        self.seconds = 0.0
        """The CPU time that the section has taken since."""
        self.ended = False
        """Whether the exception was raised in it."""


class _Ended(BaseException):
    """Raised within work that takes too long. No ``except Exception`` of the work can catch it."""


class CPULimit:
    """The limit for the work of all threads of the process."""

    def __init__(self) -> None:
        """Start without the watching thread: the first work starts it."""
        self._lock = threading.RLock()
        self._sections: dict[int, _Section] = {}
        self._watcher: threading.Thread | None = None
        self.watched: Callable[[int, float], None] | None = None
        """Called by the watching thread with the thread and the CPU seconds of work that it sees again."""
        self.stuck: Callable[[float], None] | None = None
        """Called by the watching thread, again and again, for work that cannot be ended."""

    def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of the work, or end it. Work within other work belongs to the outer one.

        Raises:
            TooMuchWorkError: The work was ended, or ended with ``RecursionError`` or ``MemoryError``.

        """
        thread = threading.get_ident()
        if thread in self._sections:
            return work()
        if self._watcher is None or not self._watcher.is_alive():
            self._start()
        section = _Section(thread)
        try:
            try:
                self._sections[thread] = section
                return work()
            finally:
                self._leave(section)
        except _Ended as error:
            self._leave(section)  # it may have been raised while the section was left,
            self._release_all()  # and just after the lock was taken
            raise TooMuchWorkError(f"it did not end within {SECONDS:g} s of CPU time") from error
        except RecursionError as error:
            raise TooMuchWorkError("it recursed too deeply") from error
        except MemoryError as error:
            raise TooMuchWorkError("it ran out of memory") from error

    def _leave(self, section: _Section) -> None:
        with self._lock:
            self._sections.pop(section.thread, None)
        if section.ended:
            # An exception that was raised for the work and has not come yet comes in this loop. It cannot be withdrawn:
            # CPython 3.11 would then look for one at each instruction, and for ever where a tracer runs.
            for _ in range(TURNS):
                pass

    def _release_all(self) -> None:
        """Give the lock back if this thread holds it: an exception that came amid ``with`` has left it taken."""
        with suppress(RuntimeError):  # this thread does not hold it any more
            while True:
                self._lock.release()

    def _start(self) -> None:
        with self._lock:
            if self._watcher is None or not self._watcher.is_alive():  # a forked process has no thread but its own
                self._watcher = threading.Thread(target=self._watch, name="cpu-limit", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            for section in list(self._sections.values()):
                self._look(section)

    def _look(self, section: _Section) -> None:
        with self._lock:
            if self._sections.get(section.thread) is not section:
                return
            used = _cpu_seconds(section.thread)
            if section.since is None:
                section.since = used
                return
            section.seconds = used - section.since
            if section.seconds >= SECONDS and not section.ended:
                section.ended = True
                _raise_in(section.thread, _Ended)
            if self.watched is not None:
                self.watched(section.thread, section.seconds)
        if section.seconds >= STUCK_SECONDS and self.stuck is not None:
            self.stuck(section.seconds)


CPU_LIMIT = CPULimit()
"""The process's own."""


def _cpu_seconds(thread: int) -> float:
    """Return the CPU time of a thread; where the platform cannot tell, the time that passes."""
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    except (AttributeError, OSError):
        return time.monotonic()


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread, at the latest when it next goes round a loop."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
