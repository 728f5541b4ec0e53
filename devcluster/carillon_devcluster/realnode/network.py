"""The node's network on the machine: the bridge, masquerading, and kernel settings; all can be undone."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from carillon_devcluster.errors import ClusterError
from carillon_devcluster.files import write_atomically

if TYPE_CHECKING:
    from carillon_devcluster.realnode.places import Places

SUBNET = "10.111.0.0/24"
"""The pods' addresses; the first one is the bridge's, at which the API server, the kubelet and DNS listen."""

ADDRESS = str(next(ipaddress.ip_network(SUBNET).hosts()))
KUBE_PROXY_TABLES = ("ip", "ip6")
KERNEL = (
    "net/ipv4/ip_forward",
    # set by a kubelet
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip
SETTINGS = Path("/proc/sys")
CNI_RESULTS = Path("/var/lib/cni/results")


def up(places: Places) -> None:
    """Create the bridge with its address, forward packets, and masquerade those of pods. Idempotent.

    Raises:
        ClusterError: The network is in use, or the kernel reports an error.

    """
    if not places.kernel_settings.exists():
        _refuse_others()
        before = {name: (SETTINGS / name).read_text().strip() for name in KERNEL if (SETTINGS / name).exists()}
        write_atomically(places.kernel_settings, json.dumps(before))
    if not Path("/sys/class/net", places.bridge).exists():
        _run("ip", "link", "add", places.bridge, "type", "bridge")
    prefix = SUBNET.partition("/")[2]
    _run("ip", "address", "replace", f"{ADDRESS}/{prefix}", "dev", places.bridge)
    _run("ip", "link", "set", places.bridge, "up")
    (SETTINGS / "net/ipv4/ip_forward").write_text("1\n")
    rules = (
        f"add table ip {places.network}\n"
        f"delete table ip {places.network}\n"
        f"table ip {places.network} {{\n"
        "  chain out {\n"
        "    type nat hook postrouting priority srcnat;\n"
        f'    ip saddr {SUBNET} oifname != "{places.bridge}" masquerade\n'
        "  }\n"
        "}\n"
    )
    _run("nft", "-f", "-", given=rules)


def down(places: Places) -> None:
    """Undo all changes of `up`, kubelet and kube-proxy to the machine's network and kernel settings."""
    if not places.kernel_settings.exists():
        return
    subprocess.run(["nft", "delete", "table", "ip", places.network], capture_output=True, check=False)
    for family in KUBE_PROXY_TABLES:
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    subprocess.run(["ip", "link", "delete", places.bridge], capture_output=True, check=False)
    for name, value in json.loads(places.kernel_settings.read_text()).items():
        if (SETTINGS / name).read_text().strip() != value:
            (SETTINGS / name).write_text(f"{value}\n")
    # the CNI library's records of pods whose end it has not seen
    for left in CNI_RESULTS.glob(f"{places.network}-*"):
        left.unlink(missing_ok=True)
    for folder in (CNI_RESULTS, CNI_RESULTS.parent):
        with contextlib.suppress(OSError):  # in use by another program, or never created
            folder.rmdir()
    places.kernel_settings.unlink()


def has_proxy_rules() -> bool:
    """Return whether kube-proxy has written its table."""
    return (
        subprocess.run(["nft", "list", "table", "ip", "kube-proxy"], capture_output=True, check=False).returncode == 0
    )


def _refuse_others() -> None:
    if has_proxy_rules():
        message = (
            "A kube-proxy has rules on this machine (nft list table ip kube-proxy), and two of them cannot "
            "share it: stop the other node first."
        )
        raise ClusterError(message)
    routes = _run("ip", "-o", "route", "show", "root", SUBNET)
    if routes.strip():
        message = f"The pods' network {SUBNET} is already routed on this machine ({routes.strip()}): stop its user."
        raise ClusterError(message)


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"The node's network could not be created: {' '.join(command)}: {done.stderr.strip()}."
        raise ClusterError(message)
    return done.stdout
