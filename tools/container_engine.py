"""Checks for a container engine. Imported by scripts that run before any package is installed."""

import shutil
import subprocess

PATIENCE_SECONDS = 20.0
"""How long to wait for a command whose engine may hang or be unreachable."""


def answers(engine: str, patience: float = PATIENCE_SECONDS) -> bool:
    """Return whether an engine responds, which takes more than its installed command.

    Args:
        engine: ``docker`` or ``podman``.
        patience: How long it may take, in seconds.

    """
    program = shutil.which(engine)
    if program is None:
        return False
    try:
        return subprocess.run([program, "info"], check=False, capture_output=True, timeout=patience).returncode == 0
    except subprocess.TimeoutExpired:
        return False
