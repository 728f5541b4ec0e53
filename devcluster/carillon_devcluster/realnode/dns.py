"""The cluster's DNS on a real node: CoreDNS at the bridge's address, its role, and its health.

`node` starts it; the kubelet sets it in every pod. It resolves names of Services itself, and forwards all others to
the machine's resolvers if these answer when the node starts; otherwise the others do not exist.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
from pathlib import Path

from carillon_devcluster.errors import ClusterError
from carillon_devcluster.realnode.network import ADDRESS

DOMAIN = "cluster.local"
PORT = 53
"""The only port that a pod's resolv.conf supports."""

USER = "system:coredns"
"""The user in CoreDNS's certificate; see realnode/pki.go."""

RESOLVERS = Path("/etc/resolv.conf")
ANSWER_WITHIN = 1.0
NO_ANSWER = (-1, 0)

CACHED = 5
"""Seconds; short, because a negative answer that is cached delays those who wait for a new pod's name."""

SERVED = """\
. {{
    bind {address}
    errors
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl {cached}
        fallthrough in-addr.arpa ip6.arpa
    }}
{others}
    cache {cached}
}}
"""
FORWARDED = """\
    forward . {resolvers} {{
        policy sequential
        # no caller waits for resolvers that are known to be away
        failfast_all_unhealthy_upstreams
    }}"""
UNKNOWN = """\
    template ANY ANY . {
        rcode NXDOMAIN
    }"""


def corefile(kubeconfig: Path, resolvers: list[str]) -> str:
    """Return CoreDNS's configuration; without resolvers, names outside the cluster do not exist."""
    others = FORWARDED.format(resolvers=" ".join(resolvers)) if resolvers else UNKNOWN
    return SERVED.format(address=ADDRESS, domain=DOMAIN, kubeconfig=kubeconfig, others=others, cached=CACHED)


def resolvers(file: Path = RESOLVERS) -> list[str]:
    """Return the addresses of the machine's resolvers, except the node's own."""
    found = []
    with contextlib.suppress(OSError):  # the file may be missing
        for line in file.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with contextlib.suppress(ValueError):  # the C library ignores such a line, too
                    found.append(str(ipaddress.ip_address(words[1])))
    return [address for address in found if address != ADDRESS]


def rights() -> str:
    """Return CoreDNS's role for kubectl: it may only read the objects that have DNS names."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": USER},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, binding]})


def check_port(address: str = ADDRESS, port: int = PORT) -> None:
    """Return if a DNS server can listen at the address, which belongs to this machine.

    Raises:
        ClusterError: The port is in use; the message says how to find the process.

    """
    for name, kind in (("UDP", socket.SOCK_DGRAM), ("TCP", socket.SOCK_STREAM)):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # connections in TIME_WAIT do not count
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    probe.listen()
            except OSError as error:
                message = (
                    f"The cluster's DNS cannot listen on {name} port {port} of {address} ({error.strerror}): a DNS "
                    f"server of this machine may use it at all addresses (see ss -lntup 'sport = :{port}'): stop "
                    "it, or make it listen at its own address only."
                )
                raise ClusterError(message) from error


def answers(address: str = ADDRESS, port: int = PORT) -> bool:
    """Return whether the server resolves the API server's Service, as it does once it has read all Services."""
    code, records = _ask(address, port, f"kubernetes.default.svc.{DOMAIN}")
    return code == 0 and records > 0


def responds(resolver: str, port: int = PORT) -> bool:
    """Return whether a resolver responds at all, even if only with an error."""
    return _ask(resolver, port, "localhost") != NO_ANSWER


def _ask(address: str, port: int, name: str) -> tuple[int, int]:
    """Query a server for a name's addresses; return its response code and the number of records, or `NO_ANSWER`."""
    number = 0x4341
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    # RFC 1035, section 4.1: a header with one question, the name, type A, class IN
    question = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_WITHIN)
        try:
            asking.connect((address, port))
            asking.send(question)
            answer = asking.recv(512)
        except OSError:
            return NO_ANSWER
    if len(answer) < struct.calcsize("!4H"):
        return NO_ANSWER
    told, flags, _, records = struct.unpack_from("!4H", answer)
    return (flags & 0x000F, records) if told == number else NO_ANSWER
