"""Processes that outlive this one, identified reliably even if process ids are reused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

PROC = Path("/proc")
ON_LINUX = sys.platform == "linux"


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, identified by its id and start time: ids are reused, but not the pair."""

    pid: int
    start: str

    def alive(self) -> bool:
        """Return whether exactly this process is running (a zombie is not)."""
        if self.pid <= 1 or not self.start:
            return False
        reap(self)
        return start_time(self.pid) == self.start


def start_time(pid: int) -> str:
    """Return the start time of a process in the system's notation; empty if it is not running."""
    if ON_LINUX:
        try:
            # The fields follow the command's name, which is in parentheses and may contain anything.
            fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        state, start = fields[0], fields[19]
        return "" if state in "ZX" else start
    found = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, start = found.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else " ".join(start.split())


def identify(pid: int) -> Process:
    """Return a process with its start time."""
    return Process(pid, start_time(pid))


def spawn(program: Path, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start a daemon: in its own session, with its output appended to a log, without our open files and input.

    Does not use `subprocess`, which warns about processes that it has not waited for.
    """
    pid = os.posix_spawn(
        program,
        [program.name, *arguments],
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # Python ignores this signal, and its children would inherit that.
        setsigdef=[signal.SIGPIPE],
    )
    return identify(pid)


def stop(processes: Iterable[Process], grace: float) -> None:
    """End processes: SIGTERM, then SIGKILL for those that are still running after `grace` seconds."""
    alive = [process for process in processes if process.alive()]
    for process in alive:
        send(process, signal.SIGTERM)
    if not ended(alive, grace):
        for process in alive:
            send(process, signal.SIGKILL)
        ended(alive, 10.0)


def ended(processes: Iterable[Process], within: float) -> bool:
    """Wait until all processes have ended; return whether they have."""
    remaining = list(processes)

    def none_left() -> bool:
        remaining[:] = [process for process in remaining if process.alive()]
        return not remaining

    return wait_until(none_left, within)


def wait_until(condition: Callable[[], bool], within: float, every: float = 0.02) -> bool:
    """Wait until a condition is true, at most `within` seconds; return whether it is."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def send(process: Process, number: signal.Signals) -> None:
    """Signal a process, if it is still the same one."""
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def reap(process: Process) -> None:
    """Reap a daemon that this process has started; otherwise it would remain a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def kill_pods(pods: Path) -> int:
    """End the processes that a killed node has left, and return their number.

    The node records each container's process. On Linux, a process that has left its session is found by its
    environment, which has the path of its termination log below this folder.
    """
    found: set[Process] = set()
    for record in pods.glob("*/*/process.json"):
        try:
            content = json.loads(record.read_text())
            process = Process(int(content["pid"]), str(content["start"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if process.alive():
            found.add(process)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    for process in marked(f"CARILLON_TERMINATION_LOG={pods}/"):
        found.add(process)
        send(process, signal.SIGKILL)
    ended(found, 10.0)
    return len(found)


def of_folder(program: str, folder: Path) -> list[Process]:
    """Return the running processes of a program that have a folder in their arguments; none without /proc."""
    found = []
    for place in PROC.iterdir() if ON_LINUX else ():
        if not place.name.isdigit():
            continue
        try:
            arguments = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if arguments[0] == program and any(f"{folder}/" in argument for argument in arguments):
            found.append(identify(int(place.name)))
    return [process for process in found if process.start]


def marked(mark: str) -> list[Process]:
    """Return the processes that have an environment entry starting with `mark`; none without /proc."""
    if not ON_LINUX:
        return []
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if any(entry.startswith(mark.encode()) for entry in environment.split(b"\0")):
            found.append(identify(int(folder.name)))
    return [process for process in found if process.start]
