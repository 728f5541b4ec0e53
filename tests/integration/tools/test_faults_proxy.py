"""The proxy of ``make faults`` between a test's client and server: each fault, seen from both ends."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from carillon_core.resources import names
from faults.injection.director import Director
from faults.injection.proxy import Proxy
from faults.injection.recorder_proxy import RecorderProxy
from faults.injection.timeline import Timeline
from faults.injection.upstream import Upstream
from faults.plans.plan import Fault, Injection, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JOBS = "/apis/batch/v1/jobs"
OWN_JOBS = "/apis/batch/v1/namespaces/own/jobs"
JOB = {"metadata": {"name": "api-1767225604", "labels": {names.LABEL_TASK: "api"}}}
CREATE = Step("create-jobs", "api", 1)
ADDED = Step("event-jobs-added", "api", 1)


@dataclass
class Server:
    """A replacement of the API server: it records requests, and sends given responses."""

    url: str = ""
    requests: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if "watch" not in request.query:
            status = 201 if request.method == "POST" else 200
            return web.json_response({"items": self.items, "seen": len(self.requests)}, status=status)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self.events:
            await response.write(orjson.dumps(event) + b"\n")
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        yield self
        await runner.cleanup()


@dataclass
class Recorded:
    """``Controls`` that only record their calls."""

    done: list[str] = field(default_factory=list)
    held: list[float] = field(default_factory=list)

    def kill(self, injection: Injection) -> None:
        self.done.append(f"kill by {injection.fault}")

    def terminate(self, injection: Injection) -> None:
        self.done.append(f"terminate by {injection.fault}")

    async def disrupt(self, injection: Injection) -> None:
        self.done.append(f"disrupt by {injection.fault}")

    async def strike(self, injection: Injection, resource: str, name: str) -> None:
        self.done.append(f"{injection.fault} strikes {resource} {name}")

    async def snapshot(self) -> None:
        self.done.append("snapshot")

    async def hold(self, seconds: float) -> None:
        self.held.append(seconds)


class Bench:
    """A client, the proxy with its faults, and the server."""

    def __init__(self, *injections: Injection, lag: timedelta = timedelta(), other: str = "") -> None:
        self.server = Server(events=[event("ADDED"), event("MODIFIED")])
        self.controls = Recorded()
        self.director = Director(injections, Timeline())
        self._lag = lag
        self._other = other

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.server.running())
            outgoing = await stack.enter_async_context(aiohttp.ClientSession())
            upstream = Upstream(self.server.url, ssl.create_default_context(), outgoing)
            self.proxy = Proxy(upstream, "own", self.director, self.controls, other=self._other, lag=self._lag)
            await stack.enter_async_context(self.proxy.running())
            self.client = await stack.enter_async_context(aiohttp.ClientSession(self.proxy.url))
            yield self

    async def create(self) -> tuple[int, Any]:
        async with self.client.post(OWN_JOBS, json=JOB) as response:
            return response.status, await response.json()

    async def watch(self) -> list[str]:
        """Return the events of a watch until it ends, with a final ``cut`` if the connection was cut."""
        seen = []
        try:
            async with self.client.get(JOBS, params={"watch": "true"}) as response:
                if response.status != 200:
                    return [str(response.status)]
                async for line in response.content:
                    said = orjson.loads(line)
                    seen.append(f"{said['type']} {said['object'].get('code', '')}".strip())
        except aiohttp.ClientError:
            seen.append("cut")
        return seen


def event(change: str) -> dict[str, Any]:
    """Return a watch event of the Job."""
    return {"type": change, "object": JOB}


@pytest.mark.parametrize("injection", [Injection(Fault.LATE_ANSWER, CREATE), Injection(Fault.DELAY, ADDED)], ids=str)
async def test_a_fault_that_is_being_carried_out_keeps_its_plan_going(
    injection: Injection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the proxy holds an answer or an event back, not all faults have struck."""
    async with Bench(injection).running() as bench:
        during: list[bool] = []

        async def hold(_: float) -> None:
            during.append(bench.director.all_struck)

        monkeypatch.setattr(bench.controls, "hold", hold)
        with suppress(aiohttp.ClientError):
            await bench.create()
        await bench.watch()
        assert (during, bench.director.all_struck) == ([False], True)


async def test_what_has_no_fault_passes_confined_to_the_namespace() -> None:
    """Requests, responses and events are unchanged; collections of all namespaces become those of one."""
    async with Bench().running() as bench:
        assert (await bench.create())[0] == 201
        assert await bench.watch() == ["ADDED", "MODIFIED"]
        async with bench.client.get(JOBS, params={"limit": "500"}) as response:
            assert response.status == 200
        assert bench.server.requests == [f"POST {OWN_JOBS}", f"GET {OWN_JOBS}?watch=true", f"GET {OWN_JOBS}?limit=500"]
        assert [str(step) for step in bench.director.steps] == [
            "create-jobs/api#1",
            "event-jobs-added/api#1",
            "event-jobs-changed/api#1",
        ]


@pytest.mark.parametrize(
    ("fault", "want_status", "want_requests"),
    [
        (Fault.CONFLICT, 409, 0),
        (Fault.TOO_MANY, 429, 0),
        (Fault.ERROR_BEFORE, 500, 0),
        (Fault.ERROR_AFTER, 500, 1),
        (Fault.SENT_TWICE, 201, 2),
        (Fault.TERMINATE, 201, 1),
        (Fault.POSTGRES_STOP, 201, 1),
    ],
)
async def test_an_answer_to_a_write(fault: Fault, want_status: int, want_requests: int) -> None:
    """The client gets this response, and the server this number of requests; the next write is normal."""
    async with Bench(Injection(fault, CREATE)).running() as bench:
        assert (await bench.create())[0] == want_status
        assert len(bench.server.requests) == want_requests
        assert (await bench.create())[0] == 201
        assert [i.fault for i in bench.director.fired] == [fault]


@pytest.mark.parametrize(
    ("fault", "want_requests", "want_done"),
    [
        (Fault.KILL_BEFORE, 0, ["snapshot", "kill by kill-before"]),
        (Fault.KILL_AFTER, 1, ["snapshot", "kill by kill-after"]),
        (Fault.STALE_RESTART, 1, ["snapshot", "kill by stale-restart"]),
        (Fault.NEVER_SENT, 0, ["snapshot"]),
        (Fault.LOST_ANSWER, 1, ["snapshot"]),
        (Fault.LATE_ANSWER, 1, ["snapshot"]),
    ],
)
async def test_a_write_without_an_answer(fault: Fault, want_requests: int, want_done: list[str]) -> None:
    """The connection is cut; the faults differ in whether the server got the write."""
    async with Bench(Injection(fault, CREATE)).running() as bench:
        with pytest.raises(aiohttp.ClientError):
            await bench.create()
        assert len(bench.server.requests) == want_requests
        assert bench.controls.done == want_done


async def test_a_server_that_is_away_answers_nothing_for_a_while() -> None:
    """The triggering write and the watches are cut; then every response is 503."""
    async with Bench(Injection(Fault.UNAVAILABLE, CREATE)).running() as bench:
        with pytest.raises(aiohttp.ClientError):
            await bench.create()
        assert (await bench.create())[0] == 503
        assert await bench.watch() == ["503"]
        assert bench.server.requests == []
        assert [outage.why for outage in bench.director.outages] == ["the API server was down"]


async def test_too_many_says_when_to_come_back() -> None:
    """This is like the API server's priority and fairness."""
    async with (
        Bench(Injection(Fault.TOO_MANY, CREATE)).running() as bench,
        bench.client.post(OWN_JOBS, json=JOB) as response,
    ):
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("fault", "want"),
    [
        (Fault.DROP, ["MODIFIED"]),
        (Fault.DUPLICATE, ["ADDED", "ADDED", "MODIFIED"]),
        (Fault.DELAY, ["ADDED", "MODIFIED"]),
        (Fault.GONE_IN_STREAM, ["ERROR 410"]),
        (Fault.CUT, ["cut"]),
        (Fault.RELIST, ["cut"]),
        (Fault.KILL_AT_EVENT, ["cut"]),
        (Fault.POD_KILLED, ["ADDED", "MODIFIED"]),
    ],
)
async def test_a_watch_event(fault: Fault, want: list[str]) -> None:
    """The client's view of two events, if the fault occurs at the first."""
    async with Bench(Injection(fault, ADDED)).running() as bench:
        assert await bench.watch() == want


async def test_a_relist_is_demanded_of_the_next_watch_alone() -> None:
    """The response is 410 once."""
    async with Bench(Injection(Fault.RELIST, ADDED)).running() as bench:
        assert [await bench.watch() for _ in range(3)] == [["cut"], ["410"], ["ADDED", "MODIFIED"]]


async def test_a_delay_holds_back_what_follows() -> None:
    """The order within a stream never changes."""
    async with Bench(Injection(Fault.DELAY, ADDED)).running() as bench:
        await bench.watch()
        assert len(bench.controls.held) == 1
        assert [blur.end is not None for blur in bench.director.blurs] == [True]


async def test_a_second_operator_sees_everything_late() -> None:
    """Each event is delayed by the lag, counted from its arrival."""
    async with Bench(lag=timedelta(seconds=60)).running() as bench:
        assert await bench.watch() == ["ADDED", "MODIFIED"]
        assert all(30 < held <= 60 for held in bench.controls.held)
        assert len(bench.controls.held) == 2


async def test_an_operator_that_falls_behind_gets_old_lists() -> None:
    """It gets old lists, and no events until it may catch up."""
    async with Bench().running() as bench:
        old = await bench.proxy.lists()
        bench.server.items.append("new")
        bench.proxy.fall_behind({"jobs": old["jobs"]})
        async with bench.client.get(JOBS) as response:
            assert (await response.json())["items"] == []
        assert not bench.proxy.caught_up
        await bench.watch()
        assert bench.controls.held[0] > 1
        async with bench.client.get("/api/v1/pods") as response:
            assert (await response.json())["items"] == ["new"]


async def test_discovery_is_asked_for_once() -> None:
    """Discovery is the same for every operator of a run."""
    async with Bench().running() as bench:
        for _ in range(2):
            async with bench.client.get("/apis") as response:
                assert response.status == 200
        assert bench.server.requests == ["GET /apis"]


async def test_a_fault_strikes_no_more_once_its_time_is_over() -> None:
    """Steps are still counted."""
    async with Bench(Injection(Fault.CONFLICT, CREATE)).running() as bench:
        bench.director.armed = False
        assert (await bench.create())[0] == 201
        assert not bench.director.fired
        assert len(bench.director.steps) == 1


CLAIM = "/v1/executions/6f96/claim"
CLAIMED = Step("record-claim", "api", 1)


@asynccontextmanager
async def recording(server: Server, controls: Recorded, fault: Fault) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client of the recorder's proxy, which injects a fault at the first claim."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server.running())
        director = Director([Injection(fault, CLAIMED)], Timeline())
        proxy = RecorderProxy(server.url, director, controls)
        await stack.enter_async_context(proxy.running())
        yield await stack.enter_async_context(aiohttp.ClientSession(proxy.url))


@pytest.mark.parametrize(
    ("fault", "want_status", "want_requests", "want_kills"),
    [
        (Fault.RECORDER_KILL, None, 0, 1),
        (Fault.RECORDER_KILL_AFTER, None, 1, 1),
        (Fault.RECORDER_SLOW, 201, 1, 0),
        (Fault.RECORDER_LATE, None, 1, 0),
        (Fault.RECORDER_LOST, None, 1, 0),
        (Fault.RECORDER_BUSY, 503, 0, 0),
    ],
)
async def test_a_request_to_the_recorder(
    fault: Fault, want_status: int | None, want_requests: int, want_kills: int
) -> None:
    """The runner gets this status or none, and the recorder this number of requests; the next one is normal."""
    server, controls = Server(), Recorded()
    async with recording(server, controls, fault) as client:
        body = {"pod": "api-1767225604-x7k2p"}
        if want_status is None:
            with pytest.raises(aiohttp.ClientError):
                await client.post(CLAIM, json=body)
        else:
            assert (await client.post(CLAIM, json=body)).status == want_status
        assert (len(server.requests), len(controls.done)) == (want_requests, want_kills)
        assert (await client.post(CLAIM, json=body)).ok


async def test_a_list_that_hides_the_pods() -> None:
    """The stream is cut, the next watch is answered with 410, and the next list has no pods."""
    injection = Injection(Fault.HIDDEN_PODS, Step("event-pods-changed", "api", 1))
    async with Bench(injection).running() as bench:
        bench.server.items = ["a pod"]
        seen = []
        with pytest.raises(aiohttp.ClientError):
            async with bench.client.get("/api/v1/pods", params={"watch": "true"}) as response:
                seen += [orjson.loads(line)["type"] async for line in response.content]
        async with bench.client.get("/api/v1/pods", params={"watch": "true"}) as response:
            assert response.status == 410
        async with bench.client.get("/api/v1/pods") as response:
            assert (await response.json())["items"] == []
        async with bench.client.get(JOBS) as response:
            assert (await response.json())["items"] == ["a pod"]
        assert [blur.why for blur in bench.director.blurs] == ["a watch was interrupted", "pods were hidden"]


async def test_an_operator_that_serves_another_tenant_too_sees_those_two_namespaces() -> None:
    """Collections of all namespaces stay so, but objects of other plans' namespaces are left out."""
    async with Bench(other="own-other").running() as bench:
        objects = [{"metadata": {"name": name, "namespace": name}} for name in ("own", "own-other", "foreign")]
        bench.server.items = objects
        bench.server.events = [{"type": "ADDED", "object": each} for each in objects]
        async with bench.client.get(JOBS) as response:
            assert (await response.json())["items"] == objects[:2]
        assert await bench.watch() == ["ADDED", "ADDED"]
        assert bench.server.requests == [f"GET {JOBS}", f"GET {JOBS}?watch=true"]
