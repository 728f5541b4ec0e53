"""Streams over real sockets, with uvicorn and the facade's protocol."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import uvicorn

from carillon_api.events.hub import Pace
from carillon_api.http.server import PunctualH11Protocol, StreamingServer
from carillon_core.serving.programs import listening_socket
from support.api import AS_CALLER, HASTY, Facade, facade
from support.history_adapters import skipped
from support.streams import EVENTS, Event, parsed
from support.waiting import eventually

SECONDS = 20


class Hasty(PunctualH11Protocol):
    """The facade's protocol with shorter limits than a stream lives."""

    arrival_seconds = 0.2
    taking_seconds = 0.2


@dataclass
class Running:
    """A facade, its server, and a client."""

    api: Facade
    server: uvicorn.Server
    client: httpx.AsyncClient
    port: int
    ended: "asyncio.Task[None]"


@asynccontextmanager
async def running(pace: Pace = HASTY) -> AsyncIterator[Running]:
    """Serve a facade over memory adapters."""
    async with facade(pace) as api:
        config = uvicorn.Config(
            api.app, http=Hasty, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=1
        )
        server = StreamingServer(config, api.events.close)
        with listening_socket("127.0.0.1", 0, ("", "")) as listener:
            port = listener.getsockname()[1]
            task = asyncio.create_task(server.serve(sockets=[listener]))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SECONDS) as own:
                yield Running(api, server, own, port, task)
            server.should_exit = True
            await task


async def next_event(lines: AsyncIterator[str]) -> Event:
    """Return the next event."""
    block: list[str] = []
    async for line in lines:
        if line:
            block.append(line)
            continue
        if (event := parsed("\n".join(block))) is not None:
            return event
        block.clear()
    raise AssertionError("the stream ended")


async def test_a_stream_lives_until_its_server_stops() -> None:
    """Longer than a request may take to arrive or a response to be read; then the server stops without waiting."""
    async with running(replace(HASTY, tick_seconds=0.05, beat_ticks=1)) as served, asyncio.timeout(SECONDS):
        async with served.client.stream("GET", EVENTS, headers={**AS_CALLER, "Accept-Encoding": "gzip"}) as response:
            assert response.status_code == 200
            assert {"transfer-encoding", "x-request-id", "ratelimit"} <= set(response.headers)
            assert "content-encoding" not in response.headers
            lines = response.aiter_lines()
            assert (await next_event(lines)).type == "ready"
            beats = 0
            async for line in lines:
                beats += line == ": heartbeat"
                if beats == 10:
                    break
            await served.api.history.record([skipped(1)])
            assert (await next_event(lines)).type == "execution"
            served.server.should_exit = True
            assert (await next_event(lines)).data["reason"] == "Shutdown"
            assert [line async for line in lines] == []
        # far within the time that requests in progress have
        await asyncio.wait_for(asyncio.shield(served.ended), 5)


async def test_a_client_that_is_gone_is_forgotten() -> None:
    """At once, though nothing is sent to it."""
    async with running() as served, asyncio.timeout(SECONDS):
        async with served.client.stream("GET", EVENTS, headers=AS_CALLER) as response:
            assert (await next_event(response.aiter_lines())).type == "ready"
            assert len(served.api.events) == 1
        await eventually(lambda: len(served.api.events) == 0)


async def test_a_client_that_does_not_read_is_disconnected() -> None:
    """By the limit for every response; until then it waits with its place in the journal."""
    async with running() as served, asyncio.timeout(SECONDS):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: {AS_CALLER['Authorization']}\r\n\r\n"
        writer.write(head.encode())
        await eventually(lambda: len(served.api.events) == 1)
        # never read: the kernel's buffers and the server's fill
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
        minute = 0

        async def is_forgotten() -> bool:
            nonlocal minute
            await served.api.history.record([skipped(minute + n, task="t" * 200) for n in range(500)])
            minute += 500
            return len(served.api.events) == 0

        await eventually(is_forgotten, SECONDS)
        writer.close()


async def test_streams_are_no_slow_requests() -> None:
    """They are counted while they are open, and their duration is that to the first byte: an alert looks at it."""
    async with running(replace(HASTY, tick_seconds=0.05, beat_ticks=1)) as served, asyncio.timeout(SECONDS):
        metrics = served.api.app.state.metrics
        before = metrics.text().decode()
        async with served.client.stream("GET", EVENTS, headers=AS_CALLER) as response:
            lines = response.aiter_lines()
            await next_event(lines)
            assert "carillon_api_event_streams 1.0" in metrics.text().decode()
            beats = 0
            async for line in lines:
                beats += line == ": heartbeat"
                if beats == 22:  # more than a second
                    break
        await eventually(lambda: "carillon_api_event_streams 0.0" in metrics.text().decode())
        bucket = 'carillon_api_request_duration_seconds_bucket{le="1.0",method="GET",route="/api/v1/events"} '

        def within(text: str) -> float:
            return sum(float(line.removeprefix(bucket)) for line in text.splitlines() if line.startswith(bucket))

        assert within(metrics.text().decode()) == within(before) + 1
