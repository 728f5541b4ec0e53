"""The parts of a cluster and their flags. All other flags have their defaults."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from carillon_devcluster.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carillon_devcluster.layout import ClusterFiles

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "node")
"""The parts in start order; they are stopped in reverse order."""

PORTS = ("etcd", "etcd-peer", "kube-apiserver", "node")
NODE_NAME = "local"
CM_QPS = "CARILLON_DEVCLUSTER_CM_QPS"
"""Environment variable: the controller manager's client limit in requests per second, for benchmarks."""

CM_CONTROLLERS = "CARILLON_DEVCLUSTER_CM_CONTROLLERS"
"""Environment variable: the controllers that the controller manager runs, if not all."""


@dataclasses.dataclass(frozen=True)
class Place:
    """The address of the API server, and whether the node runs pods as local processes.

    A real node's pods have their own network: the API server then listens on an address that they can reach, with a
    certificate for it, and that address is the endpoint of its Service.
    """

    address: str = LOOPBACK
    certificate: str = "apiserver"
    process_node: bool = True

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of this cluster."""
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
        # TLS on loopback as well, because etcd has all Secrets and the machine may have other users.
        "client-cert-auth": "true",
        "trusted-ca-file": authority,
        "cert-file": certificate,
        "key-file": key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": authority,
        "peer-cert-file": certificate,
        "peer-key-file": key,
        # Acceptable for a temporary cluster: a crash of the machine may lose the last writes, a crash of etcd does not.
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
        # Services have no routing on a node of local processes, so the API server need not be an endpoint.
        "endpoint-reconciler-type": "none" if place.process_node else "lease",
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-client-certificate": files.certificate("apiserver-kubelet-client"),
        "kubelet-client-key": files.key("apiserver-kubelet-client"),
        "kubelet-certificate-authority": files.certificate("ca"),
        "allow-privileged": "true",
        "profiling": "false",
        # The wait after SIGTERM is for load balancers, which do not exist here.
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
    if controllers := settings.get(CM_CONTROLLERS):
        flags["controllers"] = controllers
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
