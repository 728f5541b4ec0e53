"""A TCP proxy that can cut or freeze connections, like a failing network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards bytes to one server; start it with ``running``."""

    def __init__(self, host: str, port: int) -> None:
        """Take the server's address."""
        self._target = (host, port)
        self._pipes: set[asyncio.Task[None]] = set()
        self._frozen: set[asyncio.Task[None]] = set()
        self.refusing = False
        """While true, connections are closed as soon as they are opened."""
        self.connections = 0
        """The number of connections so far."""
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Serve on a free port of 127.0.0.1."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    def cut(self) -> None:
        """Close all connections."""
        for pipe in self._pipes:
            pipe.cancel()

    def freeze(self) -> None:
        """Freeze all current connections without closing them; new ones work."""
        self._frozen |= self._pipes

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.close()
            return
        task = asyncio.ensure_future(self._join(reader, writer))
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        task.add_done_callback(self._frozen.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(*self._target)
        own = asyncio.current_task()

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while chunk := await source.read(65536):
                if own not in self._frozen:
                    sink.write(chunk)
                    await sink.drain()

        try:
            pumps = [asyncio.ensure_future(pump(reader, here)), asyncio.ensure_future(pump(there, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in pumps:
                    each.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for end in (here, writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()
