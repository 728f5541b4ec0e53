"""A real Kubernetes cluster on a bare machine: a control plane, and a node that runs pods as local processes.

Tests and `make run` use `LocalCluster`; `python3 -m carillon_devcluster` is its command line. It needs only the
standard library, so it works before anything is installed.
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
