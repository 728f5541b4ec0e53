"""Run all tests with coverage and check the minimum: 95 % of core with branches, 85 % of everything.

Arguments are passed to pytest; with arguments, the minimum is not checked. The whole suite is shared by
``CARILLON_TEST_LANES`` workers, because most of its time is spent waiting for clusters, databases and schedules.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".carillon" / "coverage"
GATES = {"core": ("*/carillon_core/*", 95), "everything": ("*", 85)}
LANES = "4"
"""Enough to keep two cores busy; each has its own cluster and Postgres."""
FEWER_COLLECTIONS = {"GOGC": "400"}
"""Go's garbage collector runs less often in the tests' clusters: the four workers are short of CPU, not of memory."""
SLOWEST = ("--durations=40", "--durations-min=5", f"--junitxml={FOLDER / 'tests.xml'}")


def main(arguments: list[str]) -> int:
    """Return pytest's exit code if it failed, else 1 if the coverage is too low."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    code = _coverage("run", "-m", "pytest", *(arguments or _everything()))
    if code or arguments:
        return code
    _coverage("combine", "--quiet")
    failed = False
    for name, (pattern, least) in GATES.items():
        percent = _percent(name, pattern)
        failed |= percent < least
        print(f"coverage of {name}, lines and branches: {percent:.1f} % (at least {least} %)")
    if failed:
        _coverage("report")
    return int(failed)


def _everything() -> tuple[str, ...]:
    """Return pytest's arguments for the whole suite: see ``tests/support/lanes.py``."""
    # tests install releases, one per cluster: with a given cluster there is one lane
    lanes = "1" if os.environ.get("CARILLON_TEST_KUBECONFIG") else os.environ.get("CARILLON_TEST_LANES") or LANES
    return ("--quiet", "--numprocesses", lanes, "--dist", "loadfile", *SLOWEST)


def _percent(name: str, pattern: str) -> float:
    report = FOLDER / f"{name}.json"
    _coverage("json", "--quiet", f"--include={pattern}", "-o", str(report))
    return float(json.loads(report.read_text())["totals"]["percent_covered"])


def _coverage(*arguments: str) -> int:
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=FEWER_COLLECTIONS | os.environ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
