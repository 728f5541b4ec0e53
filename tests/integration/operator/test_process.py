"""The operator's process at its start, before it has observed anything."""

import os
import subprocess
import sys
from pathlib import Path

from carillon_local.layout import ROOT


def test_a_ready_file_of_an_earlier_start_does_not_count(tmp_path: Path) -> None:
    """A restarted container finds the file of its predecessor, but is not ready yet."""
    ready = tmp_path / "ready"
    ready.touch()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "nowhere"),
        "DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c",
        "CARILLON_RUNNER_IMAGE": "carillon-runner:0.1.0",
        "CARILLON_READY_FILE": str(ready),
    }
    command = [sys.executable, "-m", "carillon_operator"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "set KUBECONFIG" in done.stdout + done.stderr
    assert not ready.exists()
