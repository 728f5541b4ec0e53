"""Where everything is: the checked-out sources, the state root, and one folder for each cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
"""The Go module; this package lies inside it."""

DEFAULT_ROOT = SOURCES.parent / ".carillon"
DEFAULT_NAME = "default"


@dataclasses.dataclass(frozen=True)
class Root:
    """The state root: what all clusters share."""

    path: Path

    @property
    def binary(self) -> Path:
        """The program that is every part of a cluster."""
        return self.path / "bin" / "carillon-devcluster"

    @property
    def stamp(self) -> Path:
        """What the program was built from."""
        return self.path / "bin" / "carillon-devcluster.stamp"

    @property
    def build_lock(self) -> Path:
        """Held while the program is built."""
        return self.path / "bin" / "build.lock"

    @property
    def build_log(self) -> Path:
        """What the last build said."""
        return self.path / "bin" / "build.log"

    @property
    def go_venv(self) -> Path:
        """Where Go is installed if the machine has none."""
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
        """Ports and processes, as JSON."""
        return self.path / "state.json"

    @property
    def lock(self) -> Path:
        """Locked while the cluster is started or stopped. It is beside the folder, which may be deleted."""
        return self.path.parent / f".{self.path.name}.lock"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.path / "pki"

    @property
    def images(self) -> Path:
        """The image table, which the node reads again whenever it changes."""
        return self.path / "images.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.path / "kubeconfig"

    @property
    def node_state(self) -> Path:
        """The node's folder."""
        return self.path / "node"

    @property
    def pods(self) -> Path:
        """The pods' logs, scratch folders and process records."""
        return self.node_state / "pods"

    @property
    def etcd(self) -> Path:
        """The database: all objects of the cluster."""
        return self.path / "etcd"

    def kubeconfig_of(self, user: str) -> Path:
        """Return the kubeconfig of one of the parts."""
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
