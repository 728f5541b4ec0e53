"""Ports for servers that listen some seconds after their port was chosen."""

import itertools
import os
import socket
from contextlib import suppress

FIRST = 20_000
EACH = 1_500
"""The number of ports of each worker, all below the range from which the kernel picks one for ``bind`` to port 0."""
LAST_WORKER = 7

_name = os.environ.get("PYTEST_XDIST_WORKER") or f"gw{LAST_WORKER}"
_worker = min(int(_name.removeprefix("gw")), LAST_WORKER)
_numbers = itertools.count(os.getpid())  # two runs on one machine begin elsewhere


def own_port() -> int:
    """Return a free port of the loopback address; no other worker gets it, and this one only after many others."""
    while True:
        port = FIRST + EACH * _worker + next(_numbers) % EACH
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
