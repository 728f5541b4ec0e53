"""The API server as Carillon uses it: one kept-alive session, plain JSON, errors of our own tree."""

from carillon_core.adapters.kube.cluster import KubeCluster
from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.adapters.kube.readiness import wait_until_ready
from carillon_core.adapters.kube.tasks import KubeTaskStore

__all__ = ["KubeCluster", "KubeConnection", "KubeTaskStore", "wait_until_ready"]
