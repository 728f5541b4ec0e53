"""Limits on slow requests, with a real socket and uvicorn with the facade's protocol."""

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from carillon_api.__main__ import listening_socket
from carillon_api.http.server import PunctualH11Protocol


class Hasty(PunctualH11Protocol):
    """The facade's protocol with a shorter timeout."""

    arrival_seconds = 0.3


class App:
    """Reads the body, waits until it may respond, and returns the body's length."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        self.reached.set()
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        await self.may_answer.wait()
        text = str(size).encode()
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


class Served:
    """The app, and connections to it."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.port = port
        self._writers: list[StreamWriter] = []

    async def sends(self, data: bytes) -> tuple[StreamReader, StreamWriter]:
        """Open a connection and send these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(data)
        return reader, writer

    async def close(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """Serve the app on a new socket."""
    app = App()
    config = uvicorn.Config(app, http=Hasty, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with listening_socket("127.0.0.1", 0) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        made = Served(app, listener.getsockname()[1])
        yield made
        await made.close()
        server.should_exit = True
        await task


HEAD = b"POST / HTTP/1.1\r\nHost: facade\r\nContent-Length: 5\r\n\r\n"
SLOW: dict[str, bytes] = {
    "nothing at all": b"",
    "half a line": b"POST / HT",
    "half a head": HEAD[:-2],
    "a head without its body": HEAD,
    "half a body": HEAD + b"ab",
}


@pytest.mark.parametrize("case", SLOW)
async def test_a_request_that_does_not_come_is_given_up(served: Served, case: str) -> None:
    """The response is 408, and the connection is closed, so that it uses no resources."""
    reader, _ = await served.sends(SLOW[case])
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 408 ")
    assert problem_in(said)["type"] == "urn:carillon:problem:request-timeout"


async def test_what_is_no_http_is_answered_with_a_problem(served: Served) -> None:
    """All errors are problems, even those that no route or middleware sees."""
    reader, _ = await served.sends(b"what is this?\r\n\r\n")
    said = await reader.read()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert problem_in(said)["status"] == 400


def problem_in(answer: bytes) -> dict[str, Any]:
    """Return the problem in a response, whose Content-Length must be correct."""
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"content-type: application/problem+json" in head
    assert f"content-length: {len(body)}".encode() in head
    problem: dict[str, Any] = json.loads(body)
    return problem


async def test_so_is_a_second_request_of_a_connection(served: Served) -> None:
    """The timer starts again after a response."""
    reader, writer = await served.sends(HEAD + b"hello")
    assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET /")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_so_is_one_that_was_sent_before_the_first_was_answered(served: Served) -> None:
    """It had begun to arrive before its turn."""
    reader, _ = await served.sends(HEAD + b"hello" + HEAD + b"ab")
    assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 ")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_request_that_has_come_may_take_its_time(served: Served) -> None:
    """It is answered after the timeout of another connection, which began later."""
    served.app.may_answer.clear()
    reader, writer = await served.sends(HEAD + b"hello")
    await served.app.reached.wait()
    late, _ = await served.sends(b"")
    assert (await late.read()).startswith(b"HTTP/1.1 408 ")
    served.app.may_answer.set()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(1) == b"5"
    writer.write(HEAD + b"again")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_what_comes_piece_by_piece_is_taken(served: Served) -> None:
    """The bytes may arrive one by one, if all arrive in time."""
    reader, writer = await served.sends(b"")
    for byte in HEAD + b"hello":
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


def test_answers_are_not_held_back() -> None:
    """Responses are sent at once: Nagle's algorithm would wait for the acknowledgement of the headers."""
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()[:2]),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
