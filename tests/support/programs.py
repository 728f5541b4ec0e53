"""Runs our own programs as users do."""

import subprocess
import sys
from pathlib import Path

EMBEDDED_POSTGRES = Path(__file__).parents[2] / "tools" / "embedded_postgres.py"


def run_embedded_postgres(command: str, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``tools/embedded_postgres.py`` and return the result."""
    return subprocess.run(
        [sys.executable, str(EMBEDDED_POSTGRES), command, "--data", str(data_dir), *options],
        check=False,
        capture_output=True,
        text=True,
    )
