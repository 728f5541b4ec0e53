"""Set up a fresh machine: the Python environment and the local cluster's program, side by side.

Runs with any Python from 3.11 on and nothing else: ``python3 tools/setup.py
all|python|run|cluster``. Steps whose results are current are skipped, so a second
call takes a moment. Quick checks come first, and the failure of one part ends
the other.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from container_engine import answers
from pinned_packages import install_commands
from preflight import SetupError, check_ports, check_python, check_space, memory_warning, plan

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "devcluster"))

from carillon_devcluster.build import is_current  # noqa: E402  # found by the line above
from carillon_devcluster.layout import Root  # noqa: E402

VENV = ROOT / ".venv"
STATE = ROOT / ".carillon"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
SOURCE_ROOTS = ("core", "operator", "api", "recorder", "runner", "cli", "devcluster", "tools", "proofs")
PARTS = ("all", "python", "run", "cluster")
LOOK_EVERY_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Run the wanted part; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)  # so that the build ends with this process
    if len(arguments) != 1 or arguments[0] not in PARTS:
        print(f"usage: setup.py {'|'.join(PARTS)}", file=sys.stderr)
        return 2
    try:
        _set_up(arguments[0])
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _interrupted(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _set_up(part: str) -> None:
    """Run the quick checks, announce the steps, and run them."""
    environment = Environment(VENV, Path(sys.executable))
    packages = not environment.is_current()
    own_cluster = part in {"all", "cluster"} or (part == "run" and not _other_cluster())
    cluster = own_cluster and not is_current(Root(STATE))
    for line in plan(packages=packages, cluster=cluster):
        print(line, flush=True)
    if packages:
        check_python()
        check_space(ROOT)
    if part == "run":
        check_ports(os.environ, STATE)
    if cluster and (warning := memory_warning()):
        print(warning, file=sys.stderr, flush=True)
    builder = Builder() if cluster else None
    try:
        if packages:
            print("installing the Python packages (first time, or they have changed)", flush=True)
            environment.make(builder)
        if own_cluster and part != "cluster" and (packages or cluster) and not os.environ.get("DATABASE_URL"):
            check_postgres()
        if builder:
            builder.finish()
    finally:
        if builder:
            builder.end()


class Builder:
    """The build of the local cluster's program, in separate processes; it reports on standard error."""

    def __init__(self) -> None:
        """Begin."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "devcluster"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "carillon_devcluster", "build"]
        # its own process group, so that the compilers end with it
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, process_group=0)

    def check(self) -> None:
        """Raise SetupError if it has failed."""
        if self._process.poll():
            raise SetupError("the local cluster was not built: see above")

    def finish(self) -> None:
        """Wait until it ends; raise SetupError if it fails."""
        self._process.wait()
        self.check()

    def end(self) -> None:
        """End its processes that are still running."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()


class Environment:
    """A virtual environment with exactly the packages of ``requirements/dev.txt``, in which our own are importable."""

    def __init__(self, folder: Path, python: Path, version: str = sys.version) -> None:
        """Take its folder, and the Python to create it with; ``version`` is that Python's."""
        self._folder = folder
        self._python = python
        self._stamp = folder / ".carillon-stamp"
        seed = REQUIREMENTS.read_bytes() + version.encode() + str(folder).encode() + str(SOURCE_ROOTS).encode()
        self._want = hashlib.sha256(seed).hexdigest()

    @property
    def interpreter(self) -> Path:
        """Its Python interpreter."""
        return self._folder / "bin" / "python"

    def is_current(self) -> bool:
        """Return whether it exists, is complete and up to date."""
        return self._stamp.exists() and self._stamp.read_text() == self._want

    def make(self, builder: Builder | None = None) -> None:
        """Create it; stop at once if the concurrent build fails.

        Raises:
            SetupError: It cannot be created, or the build has failed.

        """
        if not self._stamp.exists() and self._folder.exists():
            shutil.rmtree(self._folder)  # incomplete: start again
        self._stamp.unlink(missing_ok=True)
        log = STATE / "logs" / f"setup-{self._folder.name.lstrip('.')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        create = [str(self._python), "-m", "venv", str(self._folder)]
        _run(log, "create the Python environment", create, builder)
        for command in install_commands(self.interpreter, REQUIREMENTS):
            _run(log, "install the Python packages", command, builder)
        site = next((self._folder / "lib").glob("python*/site-packages"))
        (site / "carillon.pth").write_text("".join(f"{ROOT / root}\n" for root in SOURCE_ROOTS))
        self._stamp.write_text(self._want)


def check_postgres() -> None:
    """Check, while the cluster is being built, whether the embedded Postgres can run here.

    Raises:
        SetupError: It cannot.

    """
    command = [str(VENV / "bin" / "python"), "tools/embedded_postgres.py", "check", "--data", str(STATE / "postgres")]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SetupError(done.stderr.strip().removeprefix("error: "))


def _other_cluster() -> bool:
    """Return whether ``make run`` uses an existing cluster; see ``carillon_local.target``."""
    if os.environ.get("KUBECONFIG_EXISTING"):
        return True
    return shutil.which("kind") is not None and answers("docker")


def _run(log: Path, what: str, command: list[str], builder: Builder | None) -> None:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_SECONDS)
                if builder:
                    builder.check()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise SetupError(f"could not {what}; the end of {log.relative_to(ROOT)}:\n{tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
