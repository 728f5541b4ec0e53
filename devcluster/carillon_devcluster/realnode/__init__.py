"""A real node for a local cluster's control plane: kubelet, containerd, runc, a bridge, kube-proxy and CoreDNS.

For tests that need images, a pod network, limits and users. It requires Linux and root. `stop` undoes all its changes
to the machine: mounts, a bridge, cgroups, nftables' tables, kernel settings.
"""

from carillon_devcluster.realnode.node import RealNode

__all__ = ["RealNode"]
