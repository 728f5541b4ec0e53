"""A real node beside a local cluster's control plane: kubelet, containerd, runc, a bridge, kube-proxy and CoreDNS.

For tests that need images, pods with a network of their own, limits and users. Linux and root alone; whatever it
changes on the machine (mounts, a bridge, cgroups, nftables' tables, kernel settings) is undone by `stop`.
"""

from carillon_devcluster.realnode.node import RealNode

__all__ = ["RealNode"]
