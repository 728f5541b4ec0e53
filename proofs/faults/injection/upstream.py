"""The real API server, reached as administrator over TLS. The proxies and the witness use it."""

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from yarl import URL

_ERROR = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class UpstreamError(Exception):
    """The API server refused a request of the harness itself."""


class Upstream:
    """One session with the API server; open it with ``connected``."""

    def __init__(self, server: str, context: ssl.SSLContext, session: aiohttp.ClientSession) -> None:
        """Take the open session; use ``connected``."""
        self._server = server
        self._context = context
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Path) -> AsyncIterator["Upstream"]:
        """Connect with a kubeconfig that contains all certificates."""
        known = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text))
        cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pair:  # the ssl module loads certificates only from files
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]) + b"\n")
            pair.flush()
            context.load_cert_chain(pair.name)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            yield cls(cluster["server"], context, session)

    async def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and return the answer, errors included.

        Args:
            method: Such as POST.
            path: With its query.
            body: The encoded body.
            headers: Headers besides those of every request.

        """
        async with self._request(method, path, body, headers or {}) as response:
            return Answer(response.status, response.headers, await response.read())

    async def json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request of the harness itself and return the object.

        Raises:
            UpstreamError: It was refused.

        """
        data = b"" if body is None else orjson.dumps(body)
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = await self.send(method, path, data, {"Content-Type": content_type} if data else None)
        if answer.status >= _ERROR:
            raise UpstreamError(f"{method} {path}: {answer.status} {answer.body[:500].decode(errors='replace')}")
        found: dict[str, Any] = orjson.loads(answer.body)
        return found

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Open a watch; yield its status and lines."""
        async with self._request("GET", path, b"", {}) as response:
            yield response.status, _lines(response.content)

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        return self._session.request(
            method,
            URL(self._server + path, encoded=True),
            data=body or None,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
            ssl=self._context,
        )


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    begun = b""
    async for chunk in content.iter_any():
        *ended, begun = (begun + chunk).split(b"\n")
        for line in ended:
            if line:
                yield line
    if begun:
        yield begun
