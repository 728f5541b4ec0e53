"""Set up a fresh machine: the Python environment and the local cluster's binary, side by side.

Runs with any Python from 3.11 on and nothing else: ``python3 tools/setup.py
all|python|run|cluster``. What is there and current already is left alone, so
that a second call takes a moment.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from container_engine import answers
from pinned_packages import install_commands

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STATE = ROOT / ".carillon"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
SOURCE_ROOTS = ("core", "operator", "api", "runner", "cli", "devcluster", "tools", "proofs")
NEEDED_BYTES = 1_000_000_000
PARTS = ("all", "python", "run", "cluster")


class SetupError(Exception):
    """Something that the set-up needs is missing; the message tells the mend."""


def main(arguments: list[str]) -> int:
    """Set up what is asked for; return the exit code."""
    if len(arguments) != 1 or arguments[0] not in PARTS:
        print(f"usage: setup.py {'|'.join(PARTS)}", file=sys.stderr)
        return 2
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        print(f"setup: Python {wanted} or later is needed, not {sys.version.split()[0]}: install one", file=sys.stderr)
        return 1
    try:
        _set_up(arguments[0])
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def _set_up(part: str) -> None:
    """Build the cluster in the background while the Python environment is made."""
    wants_cluster = part in {"all", "cluster"} or (part == "run" and not _other_cluster())
    builder = _start_build() if wants_cluster else None
    try:
        make_environment()
    finally:
        built = builder is None or builder.wait() == 0
    if not built:
        raise SetupError("the local cluster was not built: see above")


def _other_cluster() -> bool:
    """Return whether ``make run`` uses a cluster of somebody else's: see ``carillon_local.target``."""
    if os.environ.get("KUBECONFIG_EXISTING"):
        return True
    return shutil.which("kind") is not None and answers("docker")


def _start_build() -> subprocess.Popen[bytes]:
    """Begin to build the local cluster's program; it tells its progress on standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "devcluster"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "carillon_devcluster", "build"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def make_environment() -> None:
    """Make ``.venv`` hold exactly what ``requirements/dev.txt`` pins; do nothing if it does."""
    stamp = VENV / ".carillon-stamp"
    want = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode() + str(VENV).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == want:
        return
    print("installing the Python packages (first time, or they have changed)", flush=True)
    if not stamp.exists() and VENV.exists():
        shutil.rmtree(VENV)  # half made: begin anew
    stamp.unlink(missing_ok=True)
    log = STATE / "logs" / "setup.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise SetupError(f"the Python packages need 1 GB, and {ROOT} has {free / 1e9:.1f} GB left: free some space")
    _run(log, "make the Python environment", sys.executable, "-m", "venv", str(VENV))
    for command in install_commands(VENV / "bin" / "python", REQUIREMENTS):
        _run(log, "install the Python packages", *command)
    site = next((VENV / "lib").glob("python*/site-packages"))
    (site / "carillon.pth").write_text("".join(f"{ROOT / root}\n" for root in SOURCE_ROOTS))
    stamp.write_text(want)


def _run(log: Path, what: str, *command: str) -> None:
    with log.open("wb") as out:
        code = subprocess.run(command, check=False, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        hint = "; on Debian, install python3-venv" if "ensurepip" in tail else ""
        raise SetupError(f"could not {what}{hint}; the end of {log.relative_to(ROOT)}:\n{tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
