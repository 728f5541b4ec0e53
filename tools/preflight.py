"""Quick checks before the set-up, which takes minutes; ``setup.py`` calls it.

Only the standard library is used: nothing is installed yet.
"""

import importlib.util
import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ENVIRONMENT_BYTES = 1_000_000_000
COMFORTABLE_BYTES = 2_000_000_000
"""The memory that linking the cluster's program, or running everything, needs at most."""
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
PORTS = {
    "CARILLON_API_PORT": "api-port",
    "CARILLON_HTTPBIN_PORT": "httpbin-port",
    "CARILLON_RECORDER_PORT": "recorder-port",
}
"""The settings of ``make run`` for ports, each with the file that stores the port in use."""


class SetupError(Exception):
    """The set-up cannot continue; the message says why and what to do."""


def check_python() -> None:
    """Check that this Python can create virtual environments.

    Raises:
        SetupError: It is too old, or it lacks pip.

    """
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        message = f"Python {wanted} or later is required, and this is {sys.version.split()[0]}: install one"
        raise SetupError(f"{message}, or name one: make PYTHON=/path/to/python3.12 …")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetupError(
            f"{sys.executable} cannot create environments: on Debian and Ubuntu, apt-get install {package}"
        )


def check_space(folder: Path) -> None:
    """Check that the Python packages fit on the disk; the build of the cluster checks its own folders.

    Raises:
        SetupError: They do not fit.

    """
    free = shutil.disk_usage(folder).free
    if free < ENVIRONMENT_BYTES:
        raise SetupError(f"the Python packages need 1 GB, and {folder} has {free / 1e9:.1f} GB left: free some space")


def check_ports(environment: Mapping[str, str], state: Path) -> None:
    """Check the ports that ``make run`` is asked to use.

    Raises:
        SetupError: One is not a port, or another program listens on it.

    """
    for variable, name in PORTS.items():
        asked = environment.get(variable)
        if not asked:
            continue
        if not (asked.isascii() and asked.isdigit()) or not 1 <= int(asked) <= 65_535:  # noqa: PLR2004  # the range of ports
            raise SetupError(f"{variable}: must be a port from 1 to 65535 (got {asked!r})")
        if _remembered(state / f"{name}.json") != int(asked) and not _is_free(int(asked)):
            raise SetupError(f"{variable}: 127.0.0.1:{asked} is in use: free it, or choose another port")


def memory_warning() -> str | None:
    """Return a warning if little memory is free; None if there is enough, or if it is unknown."""
    free = min(_free_memory(), _free_in_the_container())
    if free >= COMFORTABLE_BYTES:
        return None
    return (
        f"warning: {free / 1e9:.1f} GB of memory is free; building and running the local cluster takes up to "
        f"{COMFORTABLE_BYTES / 1e9:.0f} GB, and the system may end it"
    )


def plan(*, packages: bool, cluster: bool) -> list[str]:
    """Return lines that announce the steps of the set-up and their duration; empty if there is nothing to do.

    Args:
        packages: Whether the Python environment will be created.
        cluster: Whether the local cluster's program will be built.

    """
    if not packages and not cluster:
        return []
    cores = os.cpu_count() or 1
    minutes = max(2, round(10 / cores)) if cluster else 1
    lines = [f"first-time set-up, about {minutes} min on {cores} cores (much less with warm caches):"]
    if packages:
        lines.append("  Python packages into .venv: about 1 min, 1 GB; downloads go to pip's cache")
    if cluster:
        lines.append("  local Kubernetes cluster into .carillon/bin, compiled from source: the rest of the time, 4 GB;")
        lines.append("  its sources and compiled packages go to Go's caches (GOMODCACHE, GOCACHE)")
    if packages and cluster:
        lines.append("both run side by side; if one fails, the set-up stops at once")
    return lines


def _remembered(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_memory() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024.0 * (kilobytes.get("MemAvailable", 0) + kilobytes.get("SwapFree", 0))


def _free_in_the_container() -> float:
    """Return a container's memory limit. Memory in use is not subtracted, because the kernel can reclaim caches."""
    try:
        return float(MEMORY_LIMIT.read_text())
    except (OSError, ValueError):  # no limit: "max"
        return float("inf")
