"""Limits on slow and many clients, with real sockets and uvicorn with the facade's protocol."""

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn

from carillon_api.auth.connections import Connections
from carillon_api.http.server import PunctualH11Protocol, limited_to
from carillon_core.serving.programs import listening_socket
from carillon_core.serving.punctual import LEAST_TAKEN
from support.api import AS_CALLER, facade
from support.waiting import eventually

MIB = 1024 * 1024
VARIABLES = "CARILLON_API_HOST", "CARILLON_API_PORT"


class Hasty(PunctualH11Protocol):
    """The facade's protocol with a shorter timeout."""

    arrival_seconds = 0.3
    taking_seconds = 0.3
    held = None


class Patient(Hasty):
    """Waits for longer than a busy machine pauses."""

    taking_seconds = 1.5


class App:
    """Reads the body, waits until it may respond, and returns the body's length and ``more``."""

    def __init__(self) -> None:
        self.more = b""
        self.ended = asyncio.Event()
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
        text = str(size).encode() + self.more
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at in range(0, len(text), MIB):
            await send({"type": "http.response.body", "body": text[at : at + MIB], "more_body": at + MIB < len(text)})
        self.ended.set()


class Served:
    """The app, and connections to it."""

    def __init__(self, app: App, server: uvicorn.Server, port: int) -> None:
        self.app = app
        self.server = server
        self.port = port
        self._writers: list[StreamWriter] = []

    async def sends(self, data: bytes) -> tuple[StreamReader, StreamWriter]:
        """Open a connection and send these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.keep(writer)
        writer.write(data)
        return reader, writer

    def keep(self, writer: StreamWriter) -> None:
        """Close a connection in the end."""
        self._writers.append(writer)

    async def close(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """Serve the app on a new socket."""
    async with serving(App(), Hasty) as made:
        yield made


@asynccontextmanager
async def serving(app: Any, protocol: type[PunctualH11Protocol]) -> AsyncIterator[Served]:
    """Serve an app with a protocol."""
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with listening_socket("127.0.0.1", 0, VARIABLES) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        made = Served(app, server, listener.getsockname()[1])
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


@pytest.mark.parametrize("size", [40 * MIB, 5 * MIB], ids=["before it is written", "after it was written"])
async def test_an_answer_that_is_not_read_is_given_up(served: Served, size: int) -> None:
    """The app goes on, and the connection is closed, whether bytes wait in the app or in the buffer only."""
    served.app.more = b"x" * size
    reader, _ = await reading_nothing(served, HEAD + b"hello")
    await asyncio.wait_for(served.app.ended.wait(), 5)
    await eventually(lambda: not served.server.server_state.connections)
    assert len(await reader.read()) < size  # what the system had taken before


async def reading_nothing(served: Served, data: bytes) -> tuple[StreamReader, StreamWriter]:
    """Open a connection with a small buffer, send something, and read nothing of the answer."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", served.port))
    reader, writer = await asyncio.open_connection(sock=narrow, limit=4096)
    served.keep(writer)
    writer.write(data)
    return reader, writer


async def test_an_answer_that_is_read_slowly_is_given() -> None:
    """It takes longer than the patience with a client that reads nothing."""
    async with serving(App(), Patient) as served:
        served.app.more = b"x" * (12 * LEAST_TAKEN)
        reader, _ = await reading_nothing(served, HEAD + b"hello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        size = 0
        while size < len(served.app.more):
            size += len(await reader.readexactly(LEAST_TAKEN))
            await asyncio.sleep(0.2)  # the pace of this client


async def test_an_address_has_a_bounded_number_of_connections() -> None:
    """One too many is told so and closed; when another ends, there is room again."""
    held = Connections(2)
    async with serving(App(), limited_to(held)) as served:
        (first, writer), (second, _) = [await served.sends(HEAD + b"hello") for _ in range(2)]
        for reader in (first, second):
            assert (await reader.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 ")
        third, _ = await served.sends(b"")
        said = await third.read()
        assert said.startswith(b"HTTP/1.1 429 ")
        assert problem_in(said)["type"] == "urn:carillon:problem:rate-limited"
        writer.close()
        await eventually(lambda: held.take("127.0.0.1") is not None)
        held.release("127.0.0.1")
        fourth, _ = await served.sends(HEAD + b"hello")
        assert (await fourth.readuntil(b"\r\n\r\n5")).startswith(b"HTTP/1.1 200 ")
    await eventually(lambda: not held)


def test_proxies_may_have_any_number() -> None:
    """And an IPv6 network counts as one address."""
    held = Connections(1, [ip_network("10.0.0.0/8")])
    assert [held.take("10.1.2.3") for _ in range(3)] == ["10.1.2.3"] * 3
    assert [held.take(address) for address in ("fd00::1", "fd00::2", None, None)] == [
        "fd00::/64",
        None,
        "unknown",
        None,
    ]


SMUGGLED = b"POST /api/v1/run-task HTTP/1.1\r\nHost: facade\r\nContent-Type: application/json\r\n%s\r\n\r\n"
LENGTHS: dict[str, bytes] = {
    "length first": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunks first": b"Transfer-Encoding: chunked\r\ncontent-length: 5",
    "in other letters": b"TRANSFER-ENCODING: Chunked\r\nCONTENT-LENGTH: 5",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "another encoding": b"Transfer-Encoding: gzip, chunked",
}


@pytest.mark.parametrize("case", LENGTHS)
async def test_a_message_with_two_lengths_ends_its_connection(case: str) -> None:
    """What follows is not read as a request: a proxy may have taken it for the body."""
    authorized = b"".join(f"{name}: {value}\r\n".encode() for name, value in AS_CALLER.items())
    head = SMUGGLED % (authorized + LENGTHS[case])
    async with facade() as rest, serving(rest.app, Hasty) as served:
        reader, _ = await served.sends(head + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: facade\r\n\r\n")
        said = await reader.read()
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert b"connection: close" in said.lower()
    assert problem_in(said)["type"] == "urn:carillon:problem:malformed-request"


def test_answers_are_not_held_back() -> None:
    """Responses are sent at once: Nagle's algorithm would wait for the acknowledgement of the headers."""
    with (
        listening_socket("127.0.0.1", 0, VARIABLES) as listener,
        socket.create_connection(listener.getsockname()[:2]),
    ):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
