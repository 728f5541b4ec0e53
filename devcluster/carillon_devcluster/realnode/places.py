"""The paths of a real node's files, and its names for objects outside its folder."""

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
        """All of the node's state except its logs; deleted when the node stops."""
        return self.files.path / "real"

    @property
    def state(self) -> Path:
        """The ports and processes, as JSON. Next to the folder, so that a half-removed node is still known."""
        return self.files.path / "real-state.json"

    @property
    def volumes(self) -> Path:
        """The persistent volumes, one folder each. Like the cluster's objects, they are kept until it is deleted."""
        return self.files.path / "real-volumes"

    @property
    def kernel_settings(self) -> Path:
        """The previous values of the kernel settings, as JSON."""
        return self.files.path / "real-kernel.json"

    @property
    def key(self) -> str:
        """A short name of this cluster, unique on this machine: interface names have 15 characters, sockets 107."""
        return hashlib.sha256(str(self.files.path).encode()).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """The folder of sockets; their paths in the cluster's folder would be too long."""
        return Path("/run/carillon-node") / self.key

    @property
    def socket(self) -> Path:
        """The socket of containerd."""
        return self.run / "containerd.sock"

    @property
    def bridge(self) -> str:
        """The pods' bridge."""
        return f"carillon{self.key[:7]}"

    @property
    def cgroup(self) -> str:
        """The parent cgroup of all of the node's pods."""
        return f"carillon-{self.key}"

    @property
    def network(self) -> str:
        """The name of the pod network, and of the nftables table that masquerades it."""
        return f"carillon-{self.key}"
