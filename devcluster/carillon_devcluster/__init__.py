"""A real Kubernetes on a bare machine: its own control plane, and a node that runs pods as local processes.

`LocalCluster` is what tests and `make run` use; `python3 -m carillon_devcluster` is the same as a command. Only the
standard library is needed, so that it works before anything is installed.
"""

from carillon_devcluster.cluster import LocalCluster, Status
from carillon_devcluster.errors import (
    BuildError,
    ClusterError,
    NotRunningError,
    PartDiedError,
    StartTimeoutError,
    ToolchainError,
)
from carillon_devcluster.supervisor import PartStatus

__all__ = [
    "BuildError",
    "ClusterError",
    "LocalCluster",
    "NotRunningError",
    "PartDiedError",
    "PartStatus",
    "StartTimeoutError",
    "Status",
    "ToolchainError",
]
