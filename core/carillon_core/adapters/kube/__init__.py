"""The adapters for the API server: one kept-alive session, plain JSON, Carillon's own errors."""

from carillon_core.adapters.kube.cluster import KubeCluster
from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.adapters.kube.leases import KubeLeases
from carillon_core.adapters.kube.objects import KubeObjectStore
from carillon_core.adapters.kube.readiness import wait_until_ready

__all__ = ["KubeCluster", "KubeConnection", "KubeLeases", "KubeObjectStore", "wait_until_ready"]
