"""Chooses free ports on loopback."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port with connections in TIME_WAIT only counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(names: Iterable[str], wanted: Mapping[str, int]) -> dict[str, int]:
    """Give each name a free port, the wanted one if it is free.

    All are held open until the last one is chosen, so that each is given once. Another process can still take one
    before it is used; the caller then starts again.
    """
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for name in names:
            port = wanted.get(name, 0)
            if port in chosen.values() or not is_free(port):
                port = 0
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:  # taken just now
                probe.bind((LOOPBACK, 0))
            chosen[name] = probe.getsockname()[1]
    return chosen
