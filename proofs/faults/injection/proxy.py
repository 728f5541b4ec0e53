"""The proxy between an operator and the API server: counts requests and events, and makes them fail.

It serves plain HTTP on a free loopback port and connects to the API server over
TLS as administrator. It confines the operator to one namespace: see ``calls``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from faults.injection import calls
from faults.injection.dialect import CARILLON, Dialect
from faults.injection.director import Blur, Controls, Director, Outage
from faults.injection.pace import SECONDS, Pace
from faults.injection.timeline import now
from faults.injection.upstream import Answer, Upstream
from faults.plans.plan import POD_FAULTS, STRANGER_FAULTS, Fault, Injection

SLOW = timedelta(seconds=0.5)
"""A write that takes longer, on a busy machine, may cost the operator a slot; the oracle excuses that."""
_PASSED_ON = ("Content-Type", "Accept")
_GIVEN_BACK = ("Content-Type", "Retry-After")

Lists = dict[str, bytes]
"""Answers to lists, by resource."""


class _CutError(Exception):
    """The proxy must cut the connection to the operator."""


@dataclass(slots=True)
class _Line:
    """A line of a watch that the operator has not received yet."""

    arrived: datetime
    text: bytes


@dataclass(slots=True)
class Proxy:
    """The proxy of one operator; start it with ``running``."""

    upstream: Upstream
    namespace: str
    director: Director
    controls: Controls
    other: str = ""
    """Another namespace that the operator sees, if any."""
    lag: timedelta = timedelta()
    """The delay of every event."""
    dialect: Dialect = CARILLON
    pace: Pace = SECONDS
    url: str = ""
    watching: set[str] = field(default_factory=set)
    """The resources that the operator has listed and watched."""
    _stale: Lists = field(default_factory=dict)
    _behind_until: datetime | None = None
    _away_until: datetime | None = None
    _streams: set[asyncio.Transport] = field(default_factory=set)
    """The open watches."""
    _hidden_until: datetime | None = None
    """Until then, lists have no pods."""
    _gone: set[str] = field(default_factory=set)
    _discovery: dict[str, Answer] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Serve on a free port."""
        runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def lists(self) -> Lists:
        """Return the current lists."""
        found: Lists = {}
        for resource, path in self.dialect.watched.items():
            query = "" if resource == self.dialect.tasks else f"?{self.dialect.selector}"
            found[resource] = (await self.upstream.send("GET", calls.confined(path, self.namespace) + query)).body
        return found

    def fall_behind(self, lists: Lists) -> None:
        """Answer with these lists and hold back every event, until a while after the first list."""
        self._stale = dict(lists)
        self._behind_until = None

    @property
    def caught_up(self) -> bool:
        """Whether the operator's view is current again."""
        return not self._stale or (self._behind_until is not None and now() >= self._behind_until)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._answered(request)
        except _CutError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # the connection is closed: nothing reads it

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._away_until is not None and now() < self._away_until:
            return _given(_status(503, "ServiceUnavailable", "the server is currently unable to handle the request"))
        path = request.path if self.other else calls.confined(request.path, self.namespace)
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        resource = calls.resource_of(path)
        if request.method == "GET":
            if request.query.get("watch") in {"true", "1"}:
                return await self._watch(request, resource, path + query)
            return _given(await self._read(request, resource, path, query))
        body = await request.read()
        # a write that was sent is carried out even if the operator ends
        writing = asyncio.ensure_future(self._write(request, path, query, body))
        writing.add_done_callback(_forget)
        return _given(await asyncio.shield(writing))

    async def _read(self, request: web.BaseRequest, resource: str, path: str, query: str) -> Answer:
        if resource in self._stale and calls.is_collection(path):
            if self._behind_until is None:
                self._behind_until = now() + timedelta(seconds=self.pace.behind)
            if now() < self._behind_until:
                self.director.timeline.note("proxy", f"answers with a stale list of {resource}")
                return Answer(200, {"Content-Type": "application/json"}, self._stale[resource])
        if calls.DISCOVERY.fullmatch(path):
            key = f"{path} {request.headers.get('Accept')}"
            if key not in self._discovery:
                self._discovery[key] = await self._send(request, path + query, b"")
            return self._discovery[key]
        answer = await self._send(request, path + query, b"")
        if self.other and calls.is_collection(path):
            listed = orjson.loads(answer.body)
            items = [item for item in listed.get("items") or () if self._is_seen(item)]
            answer = Answer(answer.status, answer.headers, orjson.dumps(listed | {"items": items}))
        if resource == "pods" and self._hidden_until is not None and now() < self._hidden_until:
            self.director.timeline.note("proxy", "answers with a list without pods")
            return Answer(answer.status, answer.headers, orjson.dumps(orjson.loads(answer.body) | {"items": []}))
        return answer

    def _is_seen(self, item: Mapping[str, Any]) -> bool:
        """Return whether an object is in a namespace that the operator may see; other plans have the rest."""
        namespace = item["metadata"].get("namespace")
        return not self.other or namespace in {None, self.namespace, self.other}

    async def _send(self, request: web.BaseRequest, target: str, body: bytes) -> Answer:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        return await self.upstream.send(request.method, target, body, headers)

    async def _write(self, request: web.BaseRequest, path: str, query: str, body: bytes) -> Answer:
        decoded = orjson.loads(body) if body else {}
        kind, task = calls.write_of(request.method, path, decoded if isinstance(decoded, dict) else {})
        if kind == "create-jobs":
            await self.controls.snapshot()

        async def carry_out() -> Answer:
            began = now()
            answer = await self._send(request, path + query, body)
            self.director.timeline.note("server", f"{request.method} {path} → {answer.status}")
            if now() - began > SLOW:
                self.director.outages.append(Outage(began, now(), task, "the API server was slow"))
            return answer

        injection = self.director.reached(kind, task)
        if injection is None:
            return await carry_out()
        with self.director.striking():
            refused = await self._fail_before(injection)
            if refused is not None:
                return refused
            answer = await carry_out()
            if injection.fault is Fault.SENT_TWICE:
                return await self._send(request, path + query, body)
            return await self._fail_after(injection, task, answer)

    async def _fail_before(self, injection: Injection) -> Answer | None:
        """Inject a fault before the server gets the write; return the answer that replaces the server's, if any."""
        match injection.fault:
            case Fault.KILL_BEFORE:
                self.controls.kill(injection)
                raise _CutError
            case Fault.NEVER_SENT:
                raise _CutError
            case Fault.TERMINATE:
                self.controls.terminate(injection)
            case Fault.POSTGRES_STOP | Fault.POSTGRES_STOP_KILL | Fault.POSTGRES_FULL:
                await self.controls.disrupt(injection)
            case Fault.UNAVAILABLE:
                self._go_away()
                raise _CutError
            case Fault.CONFLICT:
                return _status(409, "Conflict", "the object has been modified")
            case Fault.TOO_MANY:
                return _status(429, "TooManyRequests", "too many requests", {"Retry-After": "1"})
            case Fault.ERROR_BEFORE:
                return _status(500, "InternalError", "an error on the server")
            case _:
                pass
        return None

    def _go_away(self) -> None:
        """Act as an API server that restarts."""
        self._away_until = now() + timedelta(seconds=self.pace.hold)
        back = self._away_until + self.pace.retries
        self.director.outages.append(Outage(now(), back, why="the API server was down"))
        self.director.blurs.append(Blur(now(), back, why="the API server was down"))
        for stream in self._streams:
            stream.abort()

    async def _fail_after(self, injection: Injection, task: str, answer: Answer) -> Answer:
        """Inject a fault after the write is committed; return the answer that the operator gets."""
        match injection.fault:
            case Fault.KILL_AFTER | Fault.STALE_RESTART | Fault.CLOCK_STEP:
                self.controls.kill(injection)
                raise _CutError
            case Fault.LOST_ANSWER:
                raise _CutError
            case Fault.LATE_ANSWER:
                outage = self.director.outage(task, "an answer came late")
                await self.controls.hold(self.pace.hold)
                outage.end = now()
                raise _CutError
            case Fault.ERROR_AFTER:
                return _status(500, "InternalError", "etcdserver: request timed out")
            case _:
                return answer

    async def _watch(self, request: web.BaseRequest, resource: str, target: str) -> web.StreamResponse:
        if resource in self._gone:
            self._gone.discard(resource)
            return _given(_status(410, "Expired", "too old resource version"))
        async with self.upstream.stream(target) as (status, lines):
            response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
            await response.prepare(request)
            self.watching.add(resource)
            waiting: asyncio.Queue[_Line | None] = asyncio.Queue()
            reading = asyncio.ensure_future(_read_into(lines, waiting))
            transport = request.transport
            if transport is not None:
                self._streams.add(transport)
            try:
                while (line := await waiting.get()) is not None:
                    await self._hold_back(line)
                    if not await self._deliver(response, resource, line.text):
                        break
            except ConnectionResetError:  # the operator has ended
                pass
            finally:
                if transport is not None:
                    self._streams.discard(transport)
                reading.cancel()
                await asyncio.wait({reading})
            return response

    async def _hold_back(self, line: _Line) -> None:
        """Wait until a line may be delivered to an operator whose view is stale."""
        due = line.arrived + self.lag
        if self._stale and self._behind_until is not None:
            due = max(due, self._behind_until)
        if due > now():
            await self.controls.hold((due - now()).total_seconds())

    async def _deliver(self, response: web.StreamResponse, resource: str, line: bytes) -> bool:
        """Deliver a line of a watch or inject its fault; return whether the stream goes on."""
        event = orjson.loads(line)
        if not self._is_seen(event["object"]):
            return True
        about = calls.event_of(resource, event)
        injection = self.director.reached(*about) if about else None
        if about is None or injection is None:
            await response.write(line + b"\n")
            return True
        name = event["object"]["metadata"]["name"]
        with self.director.striking():
            return await self._disturb(response, resource, line, about[1], injection, name)

    async def _disturb(
        self, response: web.StreamResponse, resource: str, line: bytes, task: str, injection: Injection, name: str
    ) -> bool:
        match injection.fault:
            case Fault.DROP:
                self.director.blur(task, "an event was dropped")
                return True
            case Fault.DELAY:
                blur = self.director.blur("", "events were delayed")
                outage = self.director.outage("", "events were delayed") if resource == self.dialect.tasks else None
                await self.controls.hold(self.pace.hold)
                blur.end = now()
                if outage is not None:
                    outage.end = now()
            case Fault.DUPLICATE:
                await response.write(line + b"\n")
            case Fault.KILL_AT_EVENT:
                self.controls.kill(injection)
                raise _CutError
            case Fault.CUT | Fault.RELIST | Fault.GONE_IN_STREAM | Fault.HIDDEN_PODS:
                await self._interrupt(response, resource, injection.fault)
                return False
            case fault if fault in POD_FAULTS or fault in STRANGER_FAULTS or fault is Fault.JOB_DELETED:
                began = now()
                await self.controls.strike(injection, resource, name)
                if now() - began > SLOW:  # it held back the stream
                    self.director.blurs.append(Blur(began, now(), why="the API server was slow"))
            case _:
                pass
        await response.write(line + b"\n")
        return True

    async def _interrupt(self, response: web.StreamResponse, resource: str, fault: Fault) -> None:
        """End a stream in the way of the fault."""
        # a list or a reconnection shows changes this much later
        self.director.blur("", "a watch was interrupted").end = now() + timedelta(seconds=1)
        if resource == self.dialect.tasks:
            self.director.linger_until = now() + self.pace.linger
        if fault is Fault.GONE_IN_STREAM:
            said = orjson.loads(_status(410, "Expired", "too old resource version").body)
            await response.write(orjson.dumps({"type": "ERROR", "object": said}) + b"\n")
            return
        if fault is Fault.HIDDEN_PODS:
            self._hidden_until = now() + timedelta(seconds=self.pace.hold)
            self.director.blur("", "pods were hidden").end = self._hidden_until + timedelta(seconds=1)
        if fault in {Fault.RELIST, Fault.HIDDEN_PODS}:
            self._gone.add(resource)
        raise _CutError


async def _read_into(lines: AsyncIterator[bytes], waiting: asyncio.Queue[_Line | None]) -> None:
    """Record when each line arrived, independently of when it is delivered."""
    try:
        async for line in lines:
            waiting.put_nowait(_Line(now(), line))
    finally:
        waiting.put_nowait(None)


def _forget(writing: asyncio.Future[Answer]) -> None:
    """Retrieve the outcome of a write, because its sender may have been killed."""
    if not writing.cancelled():
        writing.exception()


def _given(answer: Answer) -> web.Response:
    headers = {name: answer.headers[name] for name in _GIVEN_BACK if name in answer.headers}
    return web.Response(status=answer.status, headers=headers, body=answer.body)


def _status(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"injected: {message}",
        "reason": reason,
        "code": code,
    }
    return Answer(code, {"Content-Type": "application/json", **(headers or {})}, orjson.dumps(body))
