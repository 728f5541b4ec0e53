"""Run every check of ``make lint``, several at a time, and print each result as soon as it is known.

Arguments are the names of checks to run. Default: all.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHECKS: dict[str, tuple[str, ...]] = {
    # the longest first
    "chart": (sys.executable, "-m", "carillon_chart.lint"),
    "openapi": (sys.executable, "-m", "carillon_openapi.lint"),
    "go": (sys.executable, "tools/lint_go.py"),
    "mypy": (str(BIN / "mypy"),),
    "imports": (str(BIN / "lint-imports"),),
    "ruff": (str(BIN / "ruff"), "check"),
    "format": (str(BIN / "ruff"), "format", "--check"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a check."""

    name: str
    code: int
    said: str
    seconds: float


def main(names: list[str]) -> int:
    """Return 0 if all checks pass."""
    if unknown := [name for name in names if name not in CHECKS]:
        print(f"lint: unknown checks: {', '.join(unknown)}; the checks are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    failed = []
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as threads:
        for done in as_completed(threads.submit(_run, name) for name in names or CHECKS):
            outcome = done.result()
            if outcome.code:
                failed.append(outcome.name)
                print(f"{outcome.name} failed after {outcome.seconds:.0f} s:\n{outcome.said}", flush=True)
            else:
                last = outcome.said.rpartition("\n")[2]
                print(f"{outcome.name} passed in {outcome.seconds:.0f} s{last and f': {last}'}", flush=True)
    if failed:
        print(f"lint: failed: {', '.join(sorted(failed))}", file=sys.stderr)
    return int(bool(failed))


def _run(name: str) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        CHECKS[name], check=False, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Outcome(name, done.returncode, done.stdout.strip(), time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
