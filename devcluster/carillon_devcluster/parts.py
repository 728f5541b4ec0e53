"""The parts of a cluster and their flags. Everything else is upstream's default."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from carillon_devcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carillon_devcluster.layout import ClusterFiles

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "node")
"""In the order of their start; they are stopped in the reverse order."""

PORTS = ("etcd", "etcd-peer", "kube-apiserver", "node")
NODE_NAME = "local"
CM_QPS = "CARILLON_DEVCLUSTER_CM_QPS"
"""Environment variable: the controller manager's client limit in requests a second, for benchmarks."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the API server listens, and whether the cluster's node is the one of local processes.

    A real node's pods have a network of their own: the API server then listens at the address that they reach, with
    the certificate that names it, and appears there as the endpoint of its service.
    """

    address: str = LOOPBACK
    certificate: str = "apiserver"
    process_node: bool = True

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that this cluster has."""
        return PARTS if self.process_node else PARTS[:-1]

    def server_url(self, ports: Mapping[str, int]) -> str:
        """Return the API server's address."""
        return f"https://{self.address}:{ports['kube-apiserver']}"


ON_LOOPBACK = Place()


def arguments(
    part: str,
    files: ClusterFiles,
    ports: Mapping[str, int],
    settings: Mapping[str, str],
    place: Place = ON_LOOPBACK,
) -> list[str]:
    """Return the arguments of a part: its name and its flags."""
    if part == "kube-apiserver":
        flags = _api_server(files, ports, place)
        return [part, *(f"--{name}={value}" for name, value in flags.items())]
    flags = {
        "etcd": _etcd,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "node": _node,
    }[part](files, ports, settings)
    return [part, *(f"--{name}={value}" for name, value in flags.items())]


def _etcd(files: ClusterFiles, ports: Mapping[str, int], _: Mapping[str, str]) -> dict[str, object]:
    client = f"https://{LOOPBACK}:{ports['etcd']}"
    peer = f"https://{LOOPBACK}:{ports['etcd-peer']}"
    certificate, key, authority = files.certificate("etcd"), files.key("etcd"), files.certificate("ca")
    return {
        "name": "local",
        "data-dir": files.etcd,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"local={peer}",
        # Certificates on loopback as well: all Secrets are in here, and others may use the machine.
        "client-cert-auth": "true",
        "trusted-ca-file": authority,
        "cert-file": certificate,
        "key-file": key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": authority,
        "peer-cert-file": certificate,
        "peer-key-file": key,
        # A throw-away cluster: a crash of the whole machine may lose its last writes, a crash of etcd does not.
        "unsafe-no-fsync": "true",
        "auto-compaction-retention": "5m",
        "log-level": "warn",
    }


def _api_server(files: ClusterFiles, ports: Mapping[str, int], place: Place) -> dict[str, object]:
    return {
        "etcd-servers": f"https://{LOOPBACK}:{ports['etcd']}",
        "etcd-cafile": files.certificate("ca"),
        "etcd-certfile": files.certificate("apiserver"),
        "etcd-keyfile": files.key("apiserver"),
        "bind-address": place.address,
        "advertise-address": place.address,
        "secure-port": ports["kube-apiserver"],
        "tls-cert-file": files.certificate(place.certificate),
        "tls-private-key-file": files.key(place.certificate),
        "client-ca-file": files.certificate("ca"),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": files.key("service-accounts"),
        "service-account-signing-key-file": files.key("service-accounts"),
        "service-cluster-ip-range": "10.0.0.0/16",
        # Nothing routes to services of a node of processes, so the API server need not appear as one's endpoint.
        "endpoint-reconciler-type": "none" if place.process_node else "lease",
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-client-certificate": files.certificate("apiserver-kubelet-client"),
        "kubelet-client-key": files.key("apiserver-kubelet-client"),
        "kubelet-certificate-authority": files.certificate("ca"),
        "allow-privileged": "true",
        "profiling": "false",
        # Its own wait on SIGTERM, for load balancers that are not here.
        "shutdown-delay-duration": "0s",
    }


def _controller_manager(files: ClusterFiles, _: Mapping[str, int], settings: Mapping[str, str]) -> dict[str, object]:
    flags: dict[str, object] = {
        "kubeconfig": files.kubeconfig_of("controller-manager"),
        "root-ca-file": files.certificate("ca"),
        "service-account-private-key-file": files.key("service-accounts"),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "secure-port": 0,
        "profiling": "false",
    }
    if qps := settings.get(CM_QPS):
        flags["kube-api-qps"] = qps
        flags["kube-api-burst"] = int(float(qps) * 2)
    return flags


def _scheduler(files: ClusterFiles, _: Mapping[str, int], __: Mapping[str, str]) -> dict[str, object]:
    return {
        "kubeconfig": files.kubeconfig_of("scheduler"),
        "leader-elect": "false",
        "secure-port": 0,
        "profiling": "false",
    }


def _node(files: ClusterFiles, ports: Mapping[str, int], _: Mapping[str, str]) -> dict[str, object]:
    return {
        "kubeconfig": files.kubeconfig_of("node"),
        "node-name": NODE_NAME,
        "images": files.images,
        "state-dir": files.node_state,
        "port": ports["node"],
        "tls-cert-file": files.certificate("node"),
        "tls-private-key-file": files.key("node"),
        "client-ca-file": files.certificate("ca"),
    }
