"""An HTTP session for third-party clients of the API server: its responses are shallow enough for any decoder.

The operator gives it to kopf. kopf decodes with the standard library, which fails
at about a thousand levels: one object that nests deeper would end each of its
lists and watches, and so hide all tasks of all namespaces.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from carillon_core.adapters.decoding import decoded, may_be_deep, shallow


class _Lines:
    """A response's content whose lines, as kopf asks for them, are shallow enough for any decoder."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        begun: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                line = b"".join((*begun, part))
                begun.clear()
                yield (shallow(line) if may_be_deep(line) else line) + b"\n"
            begun.append(rest)
        yield b"".join(begun)


class _Response(aiohttp.ClientResponse):
    """A response of the API server."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        started = await super().start(connection)
        self.content: Any = _Lines(self.content)
        return started

    async def json(self, **_: Any) -> Any:
        return decoded(await self.read())


def shallow_session(
    context: ssl.SSLContext, headers: Mapping[str, str], proxy: str | None, *, trust_env: bool
) -> aiohttp.ClientSession:
    """Return a session that cuts JSON and lines where they are too deep; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        headers=headers,
        proxy=proxy,
        trust_env=trust_env,
        response_class=_Response,
    )
