"""The files of ``make run``, all under ``.carillon/``."""

import contextlib
import json
import socket
from pathlib import Path

from carillon_devcluster.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent.parent
STATE = ROOT / ".carillon"
LOGS = STATE / "logs"
PROCESSES = STATE / "processes"
POSTGRES = STATE / "postgres"
KUBECONFIG = STATE / "kubeconfig"
FACADE_KUBECONFIG = STATE / "facade.kubeconfig"
API_KEY = STATE / "api-key"
CRDS = ROOT / "crds"
CHART = ROOT / "charts" / "carillon"
RBAC = CHART / "files" / "rbac"
"""Plain manifests; the chart takes its rules from them."""
EXAMPLES = ROOT / "examples"
RUNNER_IMAGE = "carillon-runner:local"
SHELL_IMAGE = "busybox:1.37"
"""The image of examples/container.yaml."""


class LocalError(Exception):
    """A step failed; the message says why and what to do."""


def shown(path: Path) -> str:
    """Return a path as a user in the checkout would write it."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(ROOT))
    return str(path)


def free_port(preferred: int) -> int:
    """Return the preferred port of the loopback address if it is free, else another free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalError("no port of 127.0.0.1 is free: stop a program that listens on one")


def remember(name: str, value: object) -> None:
    """Store a value for later calls."""
    write_atomically(STATE / f"{name}.json", json.dumps(value))


def remembered(name: str) -> object:
    """Return a stored value, or None."""
    try:
        return json.loads((STATE / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
