"""Whether a container engine is there. Imported by scripts that run before any package is installed."""

import shutil
import subprocess

PATIENCE_SECONDS = 20.0
"""A command whose engine hangs, or whose socket leads nowhere, is not waited for longer."""


def answers(engine: str, patience: float = PATIENCE_SECONDS) -> bool:
    """Return whether an engine answers, and not only its command is installed.

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
