"""A child process for what may break the one that it runs in: templates and plugins.

What ends the child, by an exit, a crash, a lack of memory or a signal that it
ignores, leaves the runner whole, and the runner writes the record. Linux alone.
"""

import json
import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
_POLL_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


class ChildLostError(Exception):
    """The child ended without a word; the message says how, to follow "its process "."""


def call_isolated(
    work: Callable[[], Mapping[str, Any]],
    *,
    grace_seconds: float,
    memory_bytes: int | None = None,
    cpu_seconds: int | None = None,
) -> Any:
    """Call ``work`` in a child process and return the JSON object that it returns.

    An exception that comes up while the child is waited for ends the child
    first: SIGTERM, then, after the grace, SIGKILL.

    Args:
        work: Returns a JSON object and raises nothing.
        grace_seconds: What the child has after a SIGTERM.
        memory_bytes: How much address space it may take beyond what it begins with; then it gets ``MemoryError``.
        cpu_seconds: After so much of the processor's time it is killed.

    Raises:
        ChildLostError: It ended without returning.

    """
    channel = os.memfd_create("result")
    try:
        with warnings.catch_warnings():
            # the only other thread there may be is a look-up of a name that an earlier attempt gave up
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _run_child(work, channel, memory_bytes, cpu_seconds)
        try:
            _, status = os.waitpid(pid, 0)
        except BaseException:
            _end(pid, grace_seconds)
            raise
        code = os.waitstatus_to_exitcode(status)
        with os.fdopen(os.dup(channel), "rb") as file:
            file.seek(0)
            said = file.read()
        if code != 0 or not said:
            raise ChildLostError(f"was ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}")
        return json.loads(said)
    finally:
        os.close(channel)


def _run_child(
    work: Callable[[], Mapping[str, Any]], channel: int, memory_bytes: int | None, cpu_seconds: int | None
) -> NoReturn:
    code = 1
    try:
        _die_with_parent()
        _limit(memory_bytes, cpu_seconds)
        encoded = json.dumps(work()).encode("ascii")
        with os.fdopen(channel, "wb") as file:
            file.write(encoded)
        code = 0
    finally:
        # not a return: what comes after the fork is the parent's
        os._exit(code)


def _limit(memory_bytes: int | None, cpu_seconds: int | None) -> None:
    import resource  # noqa: PLC0415  # in the child alone

    if memory_bytes is not None:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # pathlib's way opens it no better
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with_parent() -> None:
    """Have the kernel end this process when the runner is killed: the effects of a lost pod must not go on."""
    import ctypes  # noqa: PLC0415  # in the child alone

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(pid: int, grace_seconds: float) -> None:
    # held back: a time-out that strikes again must not leave the child behind
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + grace_seconds
            while os.waitpid(pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > until:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    break
                time.sleep(_POLL_SECONDS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"
