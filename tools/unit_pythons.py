"""Run the unit tests with the oldest and the newest Python of this machine: ``make unit-pythons``.

Each version has its own environment under ``.carillon/pythons``. The version of ``.venv`` is skipped, because all
other tests use it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from preflight import OLDEST_PYTHON, SetupError
from setup import ROOT, STATE, VENV, Environment

SUITES = ("tests/unit", "tests/bounds", "tests/processes", "tests/proofs/test_cronjob_parser.py")
"""The tests that need no cluster and no database."""
NEWEST_MINOR = 14
"""The newest Python 3 that the pinned packages have wheels for."""
USABLE = "import ensurepip, venv, sys; print(sys.version)"

Version = tuple[int, int]


def main() -> int:
    """Run the tests; return the first exit code that is not 0."""
    found = pythons(os.environ)
    if not found:
        print("setup: found no Python that can make environments", file=sys.stderr)
        return 1
    own = sys.version_info[:2]
    for version in ends(found):
        name = ".".join(map(str, version))
        if version == own:
            print(f"Python {name} is that of .venv: run make unit", flush=True)
            continue
        python = found[version]
        environment = Environment(STATE / "pythons" / name, python, _asked(python))
        try:
            if not environment.is_current():
                print(
                    f"installing the Python packages for Python {name} (first time, or they have changed)", flush=True
                )
                environment.make()
        except SetupError as error:
            print(f"setup: {error}", file=sys.stderr)
            return 1
        print(f"unit tests on Python {name}", flush=True)
        command = [str(environment.interpreter), "-m", "pytest", *SUITES, "-q", "-n", "auto"]
        code = subprocess.run([*command, "-p", "no:cacheprovider"], check=False, cwd=ROOT).returncode
        if code:
            return code
    return 0


def pythons(environment: Mapping[str, str]) -> dict[Version, Path]:
    """Return a usable interpreter for each supported version, from PATH or pyenv."""
    pyenv = Path(environment.get("PYENV_ROOT") or Path(environment.get("HOME") or "/") / ".pyenv") / "versions"
    path = os.pathsep.join([environment.get("PATH", os.defpath), *map(str, sorted(pyenv.glob("*/bin")))])
    found = {}
    for minor in range(OLDEST_PYTHON[1], NEWEST_MINOR + 1):
        for python in _everywhere(f"python3.{minor}", path):
            if _asked(python):
                found[3, minor] = python
                break
    return found


def ends(versions: Iterable[Version]) -> list[Version]:
    """Return the oldest and the newest version; a single one is both."""
    ordered = sorted(versions)
    return sorted({ordered[0], ordered[-1]})


def _everywhere(name: str, path: str) -> Iterable[Path]:
    """Return each program of a name on the search path, except those in .venv."""
    for folder in path.split(os.pathsep):
        program = shutil.which(name, path=folder)
        if program and not Path(program).is_relative_to(VENV):
            yield Path(program)


def _asked(python: Path) -> str:
    """Return a Python's long version; empty if it cannot create environments, like a pyenv shim without a version."""
    done = subprocess.run([str(python), "-c", USABLE], check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
