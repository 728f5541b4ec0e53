"""Carillon's programs, run as users run them."""

import os
import subprocess
import sys
from pathlib import Path

from coverage.config import CoverageConfig

EMBEDDED_POSTGRES = Path(__file__).parents[2] / "tools" / "embedded_postgres.py"


def measured_without_threads() -> dict[str, str]:
    """Return the variables that measure a program which raises exceptions in signal handlers.

    Coverage has a lock for threads; an exception raised while it is taken would leave it locked for ever.
    """
    config = os.environ.get("COVERAGE_PROCESS_CONFIG")
    if not config:
        return {}
    made = CoverageConfig.deserialize(config)
    made.concurrency = ["multiprocessing"]
    return {"COVERAGE_PROCESS_CONFIG": made.serialize()}


def unmeasured() -> dict[str, str]:
    """Return this process' environment for a program whose coverage is of no use: to measure it takes much time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run_embedded_postgres(command: str, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``tools/embedded_postgres.py`` and return the result."""
    return subprocess.run(
        [sys.executable, str(EMBEDDED_POSTGRES), command, "--data", str(data_dir), *options],
        check=False,
        capture_output=True,
        text=True,
    )


def carillon_migrate(*args: str, url: str | None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``carillon-migrate`` with this database URL and these further variables."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    database = {} if url is None else {"DATABASE_URL": url}
    environment = {"PYTHONPATH": ":".join(sys.path), **database, **measured, **env}
    return subprocess.run(
        [sys.executable, "-m", "carillon_core.adapters.postgres", *args],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
