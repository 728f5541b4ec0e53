"""The API server as Carillon uses it: one kept-alive session, plain JSON, errors of our own tree."""

from carillon_core.adapters.kube.cluster import KubeCluster
from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.adapters.kube.leases import KubeLeases
from carillon_core.adapters.kube.objects import KubeObjectStore
from carillon_core.adapters.kube.readiness import wait_until_ready

__all__ = ["KubeCluster", "KubeConnection", "KubeLeases", "KubeObjectStore", "wait_until_ready"]
