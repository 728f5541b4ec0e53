"""The runner's process in a private network: it connects to the checked address, even if the DNS answer changes.

Nothing is imitated: the C library resolves, a DNS server of ours changes its
answers, and a server with a secret waits on every address that leads inward.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from carillon_core import contract
from support.private_network import PUBLIC, PUBLIC_TOO, PrivateNetwork
from support.runner import Runners

CLOSED = "BlockedAddress"


class SocketForwarder:
    """A Unix socket that leads to the database from a network without another connection to it."""

    def __init__(self, folder: Path, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        user = f"{parts.username}:{parts.password}" if parts.password else parts.username
        self.url = f"postgresql://{user}@{parts.path}?host={quote(str(folder), safe='')}&port=5432"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Accept no more connections, and wait for the end of the current ones."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_forward, args=(server, client))
            back.start()
            _forward(client, server)
            back.join()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # the other side closed first
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with suppress(OSError):  # the same
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def network() -> Iterator[PrivateNetwork]:
    """Give a private network."""
    with PrivateNetwork() as made:
        yield made


@pytest.fixture
def inside_url(database_url: str, passable_dir: Callable[[], Path]) -> Iterator[str]:
    """Give the URL of the test's database inside the private network."""
    made = SocketForwarder(passable_dir(), database_url)
    yield made.url
    made.close()


@pytest.fixture
def request_inside(network: PrivateNetwork, runners: Runners, inside_url: str) -> Callable[..., dict[str, Any]]:
    """Give a function that runs an HTTP task there and returns the execution's row."""

    def run(url: str, allow: str = "", **more: Any) -> dict[str, Any]:
        environment = {contract.ENV_HTTP_ALLOW: allow, contract.ENV_RETRY: '{"limit": 3, "initialDelaySeconds": 0}'}
        runners.prefix = network.prefix
        task = {"http": {"url": url, "maxRedirects": 5, **more}}
        running = runners.start(task, url=inside_url, more=environment)
        code = running.wait()
        row = runners.row()
        assert code == (0 if row["status"] == "succeeded" else 1), running.log
        return row

    return run


Names = dict[str, Sequence[Sequence[str]]]


CALLS: dict[str, tuple[Names, str, str | None, dict[str, int], list[str]]] = {
    "a public name is called": ({"a.example": [[PUBLIC]]}, "http://a.example/", None, {"a.example": 1}, [PUBLIC]),
    "a name that is public once, and then inward, is called where it was public": (
        {"a.example": [[PUBLIC], ["127.0.0.1"]]},
        *("http://a.example/", None, {"a.example": 1}, [PUBLIC]),
    ),
    "a name that is inward once, and then public, is not called": (
        {"a.example": [["127.0.0.1"], [PUBLIC]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "a name that is both at once is not called": (
        {"a.example": [[PUBLIC, "127.0.0.1"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "a name that is public by IPv4 and inward by IPv6 is not called": (
        {"a.example": [[PUBLIC, "::1"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "a mapped address is the IPv4 address that it maps": (
        {"a.example": [["::ffff:127.0.0.1"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "a private network is not called": (
        {"a.example": [["10.1.2.3"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "a metadata service is not called": (
        {"a.example": [["169.254.169.254"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "an alias of localhost is not called": (
        {"a.example": [["CNAME localhost", "127.0.0.1"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "an alias of an alias of what is inward is not called": (
        {"a.example": [["CNAME b.example", "CNAME c.example", "10.1.2.3"]]},
        *("http://a.example/", CLOSED, {"a.example": 1}, []),
    ),
    "localhost is not called, and nobody is asked": ({}, "http://localhost/", CLOSED, {}, []),
    "a metadata service's name is not even looked up": ({}, "http://metadata.google.internal/", CLOSED, {}, []),
    "an address is not looked up": ({}, f"http://{PUBLIC}/", None, {}, [PUBLIC]),
    "a redirect inward is not followed": (
        {"a.example": [[PUBLIC]]},
        *("http://a.example/to?url=http://127.0.0.1/", CLOSED, {"a.example": 1}, [PUBLIC]),
    ),
    "a redirect to another notation of what is inward is not followed": (
        {"a.example": [[PUBLIC]]},
        *("http://a.example/to?url=http://2130706433/", "BlockedRedirect", {"a.example": 1}, [PUBLIC]),
    ),
    "a redirect to a public name is looked up once more": (
        {"a.example": [[PUBLIC]], "b.example": [[PUBLIC_TOO], ["127.0.0.1"]]},
        *("http://a.example/to?url=http://b.example/", None, {"a.example": 1, "b.example": 1}),
        [PUBLIC, PUBLIC_TOO],
    ),
    "a redirect to a name that is inward by then is not followed": (
        {"a.example": [[PUBLIC]], "b.example": [["127.0.0.1"], [PUBLIC_TOO]]},
        *("http://a.example/to?url=http://b.example/", CLOSED, {"a.example": 1, "b.example": 1}, [PUBLIC]),
    ),
    "a redirect to the same name is looked up and checked again": (
        {"a.example": [[PUBLIC], ["127.0.0.1"]]},
        *("http://a.example/to?url=/secret", CLOSED, {"a.example": 2}, [PUBLIC]),
    ),
}


@pytest.mark.parametrize(
    ("names", "url", "want_reason", "want_queries", "want_requests"), CALLS.values(), ids=list(CALLS)
)
def test_what_was_checked_is_what_is_called(  # noqa: PLR0913, PLR0917  # the columns of the table, and two fixtures
    network: PrivateNetwork,
    request_inside: Callable[..., dict[str, Any]],
    names: Names,
    url: str,
    want_reason: str | None,
    want_queries: dict[str, int],
    want_requests: list[str],
) -> None:
    """There is one look-up for each hop, and no attempt after a refusal, because the next answer might differ."""
    network.resolve(names)
    row = request_inside(url)
    queries, requests = network.seen()
    assert (row["status"], row["reason"]) == ("succeeded" if want_reason is None else "failed", want_reason)
    # a look-up is one query for each address family
    assert queries == {f"{name} {kind}": count for name, count in want_queries.items() for kind in ("A", "AAAA")}
    assert [request.split()[0] for request in requests] == want_requests
    if want_reason == CLOSED:
        assert "CARILLON_HTTP_ALLOW on the operator" in row["error"]
    if want_reason is None:
        assert row["result"]["body"] == f"here is {want_requests[-1]}"


OPENED: dict[str, tuple[str, str | None, list[str]]] = {
    "the name opens what is private": ("*.svc", None, ["10.1.2.3"]),
    "so does the network": ("10.0.0.0/8", None, ["10.1.2.3"]),
    "for another port it does not": ("*.svc:8080", CLOSED, []),
    "without the list it is closed": ("", CLOSED, []),
}


@pytest.mark.parametrize(("allow", "want_reason", "want_requests"), OPENED.values(), ids=list(OPENED))
def test_a_service_is_called_if_the_list_opens_it(
    network: PrivateNetwork,
    request_inside: Callable[..., dict[str, Any]],
    allow: str,
    want_reason: str | None,
    want_requests: list[str],
) -> None:
    """A Service's name has a private address."""
    network.resolve({"db.shop.svc": [["10.1.2.3"]]})
    assert request_inside("http://db.shop.svc/", allow)["reason"] == want_reason
    assert [request.split()[0] for request in network.seen()[1]] == want_requests


def test_a_service_that_is_an_alias_of_the_loopback_stays_closed(
    network: PrivateNetwork, request_inside: Callable[..., dict[str, Any]]
) -> None:
    """It may be an ExternalName of anyone who may create Services."""
    network.resolve({"db.shop.svc": [["CNAME evil.example", "127.0.0.1"]]})
    assert request_inside("http://db.shop.svc/", "*.svc")["reason"] == CLOSED
    assert network.seen()[1] == []


def test_the_host_header_names_what_was_asked_for(
    network: PrivateNetwork, request_inside: Callable[..., dict[str, Any]]
) -> None:
    """The connection is made to an address; the server sees the name."""
    network.resolve({"a.example": [[PUBLIC]]})
    request_inside("http://A.example/x")
    assert network.seen()[1] == [f"{PUBLIC} a.example /x"]


def test_a_list_that_cannot_be_read_runs_nothing(runners: Runners) -> None:
    """The termination message names the variable and the fix."""
    running = runners.start({"http": {"url": "http://a.example/"}}, more={contract.ENV_HTTP_ALLOW: "10.0.0.1/8"})
    assert running.wait() == contract.ExitCode.MISCONFIGURED
    assert "CARILLON_HTTP_ALLOW has '10.0.0.1/8': the address has bits beyond its prefix" in running.log
    assert runners.query("SELECT id FROM executions") == []
