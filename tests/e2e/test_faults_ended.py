"""If ``make faults`` is terminated, everything that it has started ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from carillon_local.layout import ROOT
from support.waiting import until

COMMAND = [sys.executable, "-m", "faults", "--plans", "2", "--lanes", "1"]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of the processes with a folder as working directory or argument."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            where, what = str((each / "cwd").readlink()), (each / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it has ended, or is not ours
            continue
        if str(folder) in where or str(folder) in what:
            found.append(what.replace("\0", " "))
    return found


def test_sigterm_leaves_no_process(tmp_path: Path, passable_dir: Callable[[], Path]) -> None:
    """After SIGTERM to the process group, as from CI, cluster, Postgres and operators end, and files are deleted."""
    log = tmp_path / "log"
    temporary = passable_dir()
    with log.open("wb") as out:
        running = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        begun = temporary.glob
        until(
            lambda: running.poll() is not None or any(begun("carillon-faults-*/lane-0/**/operator.log")),
            180,
            "an operator runs",
        )
        assert running.poll() is None, log.read_text()
        assert len(processes_of(temporary)) > 3
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(120) == 128 + signal.SIGTERM, log.read_text()
        assert processes_of(temporary) == []
        assert list(temporary.glob("carillon-faults-*")) == []
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
