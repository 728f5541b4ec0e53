"""Where a real node keeps what, and how it names what lies outside its folder."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carillon_devcluster.layout import ClusterFiles

NODE_NAME = "real"
PAUSE_IMAGE = "localhost/carillon-pause:1"


@dataclasses.dataclass(frozen=True)
class Places:
    """The files, the sockets, the bridge, the cgroup and the table of one real node."""

    files: ClusterFiles

    @property
    def folder(self) -> Path:
        """All of the node's state but its logs; it goes when the node stops."""
        return self.files.path / "real"

    @property
    def state(self) -> Path:
        """Ports and processes, as JSON. Beside the folder, so that a half-removed node is still known."""
        return self.files.path / "real-state.json"

    @property
    def volumes(self) -> Path:
        """The persistent volumes, a folder each. They stay as the cluster's objects do, until it is deleted."""
        return self.files.path / "real-volumes"

    @property
    def kernel_settings(self) -> Path:
        """What the kernel's settings were before, as JSON."""
        return self.files.path / "real-kernel.json"

    @property
    def key(self) -> str:
        """A short name of this cluster among all of this machine: interfaces have 15 characters, sockets 107."""
        return hashlib.sha256(str(self.files.path).encode()).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """The folder of sockets: a path below the cluster's folder would be too long for one."""
        return Path("/run/carillon-node") / self.key

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def bridge(self) -> str:
        """The pods' bridge."""
        return f"carillon{self.key[:7]}"

    @property
    def cgroup(self) -> str:
        """The cgroup above all of the node's pods."""
        return f"carillon-{self.key}"

    @property
    def network(self) -> str:
        """The pod network's name, and that of the nftables table that lets it out."""
        return f"carillon-{self.key}"
