"""A child process for code that may break its process: templates and plugins.

If the child exits, crashes, runs out of memory or ignores a signal, the runner is
unaffected and writes the record. Linux only.
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
    """The child ended without a result; the message follows "its process "."""


def call_isolated(
    work: Callable[[], Mapping[str, Any]],
    *,
    grace_seconds: float,
    memory_bytes: int | None = None,
    cpu_seconds: int | None = None,
) -> Any:
    """Call ``work`` in a child process and return the JSON object that it returns.

    An exception while waiting ends the child first: SIGTERM, then SIGKILL after the
    grace period.

    Args:
        work: Returns a JSON object and raises nothing.
        grace_seconds: How long the child has after SIGTERM.
        memory_bytes: Address space it may use beyond its initial size before it gets ``MemoryError``.
        cpu_seconds: CPU time after which it is killed.

    Raises:
        ChildLostError: It ended without returning a result.

    """
    channel = os.memfd_create("result")
    try:
        with warnings.catch_warnings():
            # the only other possible thread is a name look-up abandoned by an earlier attempt
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
            raise ChildLostError(f"was killed by {_name(-code)}" if code < 0 else f"exited with code {code}")
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
        # not a return: the code after the fork belongs to the parent
        os._exit(code)


def _limit(memory_bytes: int | None, cpu_seconds: int | None) -> None:
    import resource  # noqa: PLC0415  # in the child alone

    if memory_bytes is not None:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # pathlib adds nothing here
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with_parent() -> None:
    """Let the kernel kill this process when the runner is killed, so that a lost pod has no further effects."""
    import ctypes  # noqa: PLC0415  # in the child alone

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(pid: int, grace_seconds: float) -> None:
    # blocked: a repeated timeout must not leave the child behind
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
