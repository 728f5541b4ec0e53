"""Run all tests under coverage, and hold the gates: 95 % of core by branches, 85 % of everything.

Arguments go to pytest. The gates hold only when the whole suite runs, which several workers then share: most of its
time is spent waiting for clusters, databases and schedules. ``CARILLON_TEST_LANES`` says how many.
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
"""Enough to keep two cores busy; each has a cluster and a Postgres of its own."""
SLOWEST = ("--durations=40", "--durations-min=5", f"--junitxml={FOLDER / 'tests.xml'}")


def main(arguments: list[str]) -> int:
    """Return pytest's exit code if it failed, else whether the gates hold."""
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
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
