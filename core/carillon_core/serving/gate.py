"""A server that limits its connections where they are accepted, before the handshake of TLS.

The recorder and the operator's webhook use it.

uvicorn counts a connection when its handshake is complete, and asyncio gives
each a buffer of 256 KiB before: a thousand silent connections would take as much
memory as a recorder has. Connections beyond the limit wait in the kernel's
queue, where they take none of it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from carillon_core.logs import get_logger
from carillon_core.serving.certificate import Certificate

HANDSHAKE_SECONDS = 5.0
"""How long the handshake of TLS may take."""
SHUTDOWN_SECONDS = 2.0
"""How long a client may take to confirm the end of TLS."""
FULL_SECONDS = 0.05
"""How long nothing is accepted when there are as many connections as may be."""
REFUSED_SECONDS = 1.0
"""How long nothing is accepted after the system has refused to."""

log = get_logger(__name__)


def gated_config(app: Starlette, certificate: Certificate | None, **more: Any) -> uvicorn.Config:
    """Return uvicorn's configuration of an app that logs by itself, with TLS if there is a certificate.

    Args:
        app: What is served.
        certificate: The certificate; it may be read again while the server runs.
        more: Further parameters of ``uvicorn.Config``.

    """
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False, **more)
    config.load()
    config.ssl = None if certificate is None else certificate.context
    return config


class GatedServer(uvicorn.Server):
    """uvicorn's server, on one socket, with a limit of connections; those in the handshake count."""

    handshake_seconds = HANDSHAKE_SECONDS

    def __init__(self, config: uvicorn.Config, most: int, most_of_one: int | None = None) -> None:
        """Take the limits.

        Args:
            config: uvicorn's configuration.
            most: How many connections there may be; others wait until they are accepted.
            most_of_one: How many of them may be of one address, so that it does not take them all; others of that
                address are closed at once. As many as there are if left out.

        """
        super().__init__(config)
        self.most = most
        self.most_of_one = most_of_one

    @asynccontextmanager
    async def open(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve in a loop that others own, until the block ends; uvicorn's ``serve`` would take over signals."""
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup([listener])
        try:
            yield
        finally:
            await self.shutdown([listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections of the socket; uvicorn serves and ends them."""
        await self.lifespan.startup()
        gates = [_Gate(self, listener) for listener in sockets or ()]
        for gate in gates:
            gate.open()
        self.servers = list(gates)  # type: ignore[arg-type]  # uvicorn closes them, and waits until they are closed
        self.started = True

    async def admit(self, connection: socket.socket) -> None:
        """Shake hands with a client; if that fails, the connection is closed."""
        context = self.config.ssl
        # a client that goes, is too slow or speaks no TLS concerns nobody
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=self.handshake_seconds if context else None,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS if context else None,
            )

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class _Gate:
    """Accepts connections while there is room; it has what uvicorn uses of asyncio's server."""

    def __init__(self, server: GatedServer, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener
        self._entering: dict[asyncio.Task[None], str] = {}
        self._again: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start to accept."""
        self._listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more, and end handshakes."""
        if self._again is not None:
            self._again.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        for task in self._entering:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until handshakes have ended."""
        if self._entering:
            await asyncio.wait(self._entering)

    def _resume(self) -> None:
        self._again = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._again = loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        while len(self._entering) + len(self._server.server_state.connections) < self._server.most:
            try:
                connection, (host, *_) = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # such as no file descriptor left
                log.warning("connections cannot be accepted", why=error.strerror)
                self._pause(REFUSED_SECONDS)
                return
            if not self._has_room_for(host):
                connection.close()
                continue
            connection.setblocking(False)
            task = asyncio.create_task(self._server.admit(connection))
            self._entering[task] = host
            task.add_done_callback(self._entering.pop)
        self._pause(FULL_SECONDS)

    def _has_room_for(self, host: str) -> bool:
        most = self._server.most_of_one
        if most is None:
            return True
        connections = self._server.server_state.connections
        entered = (each.client for each in connections if isinstance(each, H11Protocol))
        return [*self._entering.values(), *(client[0] for client in entered if client)].count(host) < most
