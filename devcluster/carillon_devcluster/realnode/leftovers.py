"""Removes what pods leave behind after a crash: processes, mounts, cgroups."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from carillon_devcluster import processes
from carillon_devcluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

CGROUPS = Path("/sys/fs/cgroup")
LOG_LINKS = Path("/var/log/containers")
DEVICE_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
GRACE = 5.0
TRIES = 3
"""The number of rounds: unmounting may uncover other mounts."""


def make_cgroup(name: str) -> None:
    """Create the parent cgroup of all of a node's pods, in each hierarchy."""
    for top in _hierarchies():
        folder = top / name
        folder.mkdir(exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            file = folder / inherited
            # in version 1, a new group has none, and nothing could run in it
            if (top / "tasks").exists() and file.exists() and not file.read_text().strip():
                file.write_text((top / inherited).read_text())


def end_pods(cgroup: str, shim: str, run: Path) -> None:
    """End every process below a cgroup, and the shims that watched them."""
    found = set(processes.of_folder(shim, run))
    for top in _hierarchies():
        for members in (top / cgroup).rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found |= {processes.identify(int(number)) for number in members.read_text().split()}
    processes.stop([process for process in found if process.start], GRACE)


def remove_cgroup(name: str) -> None:
    """Remove a cgroup and its descendants, the innermost first; the last process may need a moment to leave."""
    processes.wait_until(lambda: not sum(_remains(top / name) for top in _hierarchies()), GRACE, every=0.05)


def _remains(cgroup: Path) -> bool:
    """Remove the empty groups of a cgroup; return whether any are left."""
    for folder, _, __ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return cgroup.exists()


def unmount_below(*folders: Path) -> None:
    """Unmount everything below some folders, the last mount first."""
    for _ in range(TRIES):
        found = list(mounts_below(*folders))
        if not found:
            return
        for place in reversed(found):
            subprocess.run(["umount", str(place)], capture_output=True, check=False)
    for place in reversed(list(mounts_below(*folders))):
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


def mounts_below(*folders: Path) -> Iterator[Path]:
    """Return the mount points at or below some folders, in the order in which they were mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # special characters are escaped in the fifth field, a blank as \040
        place = Path(line.split()[4].encode().decode("unicode_escape"))
        if any(place == folder or folder in place.parents for folder in folders):
            yield place


def remove_links(folder: Path) -> None:
    """Remove the kubelet's files at fixed paths: links to its logs, its device plugins' socket."""
    for link in LOG_LINKS.glob("*.log"):
        if link.is_symlink() and folder in link.readlink().parents:
            link.unlink()
    DEVICE_SOCKET.unlink(missing_ok=True)
    for left in (LOG_LINKS, DEVICE_SOCKET.parent, DEVICE_SOCKET.parent.parent):
        with contextlib.suppress(OSError):  # in use by another program, or never created
            left.rmdir()


def remove_folders(*folders: Path) -> None:
    """Remove folders and their contents, unless something is mounted there, which must not be deleted.

    Raises:
        ClusterError: Something is still mounted.

    """
    left = list(mounts_below(*folders))
    if left:
        message = f"Something is still mounted at {left[0]}: end its users (fuser -vm {left[0]}) and stop again."
        raise ClusterError(message)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _hierarchies() -> list[Path]:
    """Return the root of each hierarchy: one in version 2, one for each controller in version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # on a machine with both versions, runc also creates groups in the hierarchy of version 2
    return [folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink()]
