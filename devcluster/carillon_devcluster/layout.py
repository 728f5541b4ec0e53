"""The paths of all files: the sources, the state root, and one folder for each cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
"""The Go module, which contains this package."""

DEFAULT_ROOT = SOURCES.parent / ".carillon"
DEFAULT_NAME = "default"
SHARED_FOLDERS = (Path("/var/lib/carillon"), Path("/var/tmp/carillon-root"))  # noqa: S108  # its owner is checked
"""Where root's nodes have their folders, in the order of preference: their containers run as other users."""


@dataclasses.dataclass(frozen=True)
class Root:
    """The state root, with the files that all clusters share."""

    path: Path

    @property
    def binary(self) -> Path:
        """The program, which contains every part of a cluster."""
        return self.path / "bin" / "carillon-devcluster"

    @property
    def stamp(self) -> Path:
        """The digest of the program's inputs."""
        return self.path / "bin" / "carillon-devcluster.stamp"

    @property
    def build_lock(self) -> Path:
        """The lock of the build."""
        return self.path / "bin" / "build.lock"

    @property
    def build_log(self) -> Path:
        """The log of the last build."""
        return self.path / "bin" / "build.log"

    @property
    def go_venv(self) -> Path:
        """The folder in which Go is installed if the machine has none."""
        return self.path / "go"

    def cluster(self, name: str) -> ClusterFiles:
        """Return the files of one cluster."""
        return ClusterFiles(self.path / "clusters" / name)


@dataclasses.dataclass(frozen=True)
class ClusterFiles:
    """The files of one cluster."""

    path: Path

    @property
    def state(self) -> Path:
        """The ports and processes, as JSON."""
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        """The lock of start and stop. It is next to the folder, because that may be deleted."""
        return self.path.parent / f".{self.path.name}.lock"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.path / "pki"

    @property
    def images(self) -> Path:
        """The image table; the node reads it again when it changes."""
        return self.path / "images.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.path / "kubeconfig"

    @property
    def node_state(self) -> Path:
        """The node's folder: root's is outside of the cluster's, whose parents may be closed to other users."""
        if os.geteuid() != 0:
            return self.path / "node"
        shared = next((each for each in SHARED_FOLDERS if os.access(each.parent, os.W_OK)), SHARED_FOLDERS[-1])
        return shared / f"node-{hashlib.sha256(bytes(self.path)).hexdigest()[:16]}"

    @property
    def owner_record(self) -> Path:
        """The file in the node's folder that names this cluster's folder."""
        return self.node_state / "cluster"

    @property
    def pods(self) -> Path:
        """The pods' logs, temporary folders and process records."""
        return self.node_state / "pods"

    @property
    def etcd(self) -> Path:
        """The database with all objects of the cluster."""
        return self.path / "etcd"

    def kubeconfig_of(self, user: str) -> Path:
        """Return the kubeconfig of a part."""
        return self.path / f"{user}.kubeconfig"

    def log(self, part: str) -> Path:
        """Return a part's log."""
        return self.path / "logs" / f"{part}.log"

    def certificate(self, name: str) -> Path:
        """Return a certificate."""
        return self.pki / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return a certificate's key."""
        return self.pki / f"{name}.key"
