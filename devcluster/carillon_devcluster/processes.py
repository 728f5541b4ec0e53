"""Processes that outlive this one, and how to be sure that a process number still means the same process."""

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
    """A process by its number and the time it started: numbers are used again, the pair is not."""

    pid: int
    start: str

    def alive(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        if self.pid <= 1 or not self.start:
            return False
        reap(self)
        return start_time(self.pid) == self.start


def start_time(pid: int) -> str:
    """Return when a process started, in the system's own notation, or an empty string if it does not run."""
    if ON_LINUX:
        try:
            # Fields follow the command's name, which stands in brackets and may hold anything.
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
    """Start a daemon: a session of its own, output appended to a log, no open files and no input of ours.

    Not with `subprocess`, which wants to see the end of what it started, and complains if it does not.
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
        # Python ignores this signal, and what it starts would inherit that.
        setsigdef=[signal.SIGPIPE],
    )
    return identify(pid)


def stop(processes: Iterable[Process], grace: float) -> None:
    """End processes: SIGTERM, then SIGKILL to those that still run after `grace` seconds."""
    alive = [process for process in processes if process.alive()]
    for process in alive:
        send(process, signal.SIGTERM)
    if not ended(alive, grace):
        for process in alive:
            send(process, signal.SIGKILL)
        ended(alive, 10.0)


def ended(processes: Iterable[Process], within: float) -> bool:
    """Wait until all processes have ended, and tell whether they have."""
    remaining = list(processes)

    def none_left() -> bool:
        remaining[:] = [process for process in remaining if process.alive()]
        return not remaining

    return wait_until(none_left, within)


def wait_until(condition: Callable[[], bool], within: float, every: float = 0.02) -> bool:
    """Wait until a condition holds, at most `within` seconds, and tell whether it does."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def send(process: Process, number: signal.Signals) -> None:
    """Signal a process, if it still is the same one."""
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def reap(process: Process) -> None:
    """Take note of a daemon's end if this very process started it, as it would stay a zombie otherwise."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def kill_pods(pods: Path) -> int:
    """End what a killed node left running and return how many processes that were.

    The node records each container's process; on Linux a process that left its session is known by its environment,
    which names its termination log below this folder.
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
    """Return the processes of a program with a folder in their arguments, ignoring records; none without /proc."""
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
    """Return the processes whose environment has an entry that starts with `mark`; none where /proc is missing."""
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
