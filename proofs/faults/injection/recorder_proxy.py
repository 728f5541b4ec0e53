"""Between runners and the recorder: counts their requests, and makes some of them fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import orjson
from aiohttp import web

from faults.injection import calls
from faults.injection.director import Controls, Director
from faults.injection.pace import SECONDS
from faults.plans.plan import Fault, Injection

_PASSED_ON = ("Authorization", "Content-Type")
_GIVEN_BACK = ("Content-Type", "Retry-After")


class _CutError(Exception):
    """The connection to the runner must be cut."""


@dataclass(slots=True)
class RecorderProxy:
    """The proxy of one plan; start it with ``running``."""

    upstream: str
    director: Director
    controls: Controls
    url: str = ""
    _session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["RecorderProxy"]:
        """Serve on a free port."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # a connection to a killed recorder is of no use
        try:
            async with aiohttp.ClientSession(connector=connector) as self._session:
                yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        about = calls.record_of(request.path, orjson.loads(body) if body else {})
        injection = self.director.reached(*about) if about else None
        try:
            if injection is None:
                return await self._sent(request, body)
            with self.director.striking():
                return await self._failed(injection, request, body)
        except (_CutError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # the connection is closed: nothing reads it

    async def _failed(self, injection: Injection, request: web.BaseRequest, body: bytes) -> web.Response:
        """Inject the fault and return the answer that the runner gets, if any."""
        match injection.fault:
            case Fault.RECORDER_KILL:
                await self.controls.disrupt(injection)
                raise _CutError
            case Fault.RECORDER_BUSY:
                refusal = {"code": "Busy", "detail": "injected: too many requests are waiting", "inDoubt": False}
                return web.json_response(refusal, status=503, headers={"Retry-After": "1"})
            case Fault.RECORDER_SLOW:
                await self.controls.hold(SECONDS.hold)
                return await self._sent(request, body)
            case _:
                await self._sent(request, body)
        if injection.fault is Fault.RECORDER_KILL_AFTER:
            await self.controls.disrupt(injection)
        elif injection.fault is Fault.RECORDER_LATE:
            await self.controls.hold(SECONDS.hold)
        raise _CutError

    async def _sent(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if self._session is None or self._session.closed:  # a container of a plan that is over
            raise _CutError
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        async with self._session.post(f"{self.upstream}{request.path}", data=body, headers=headers) as answer:
            self.director.timeline.note("recorder", f"{request.path.rpartition('/')[2]} → {answer.status}")
            given = {name: answer.headers[name] for name in _GIVEN_BACK if name in answer.headers}
            return web.Response(status=answer.status, headers=given, body=await answer.read())
