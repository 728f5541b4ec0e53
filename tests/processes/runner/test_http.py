"""The task type ``http``: what is sent and recorded. The servers are httpbin and others on loopback."""

import base64
import json
import socket

import pytest

from carillon_runner.tasks.http_exchange import parse_target
from carillon_runner.tasks.http_request import BODY_LIMIT
from support.http_tasks import UID, failure, failure_of, fetch, httpbin, make_execution
from support.odd_server import odd_server, saying
from support.scripted_server import serving

__all__ = ["httpbin"]


def test_a_request_records_status_time_and_body(httpbin: str) -> None:
    """The result has the status, the response time and the body."""
    result = fetch(f"{httpbin}/get?a=1&b=%20x&c=a+b")
    seen = json.loads(result["body"])
    assert result["statusCode"] == 200
    assert result["bodyTruncated"] is False
    assert 0 < result["responseTimeMs"] < 60_000
    assert seen["args"] == {"a": "1", "b": " x", "c": "a b"}
    assert seen["headers"]["User-Agent"].startswith("carillon/")
    assert seen["headers"]["Idempotency-Key"] == str(UID)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_method_headers_and_body_arrive(httpbin: str, method: str) -> None:
    """The user's headers replace the default ones, in any capitalisation."""
    given = {"idempotency-key": "mine", "user-agent": "me", "X-Latin": "é", "Content-Type": "text/plain"}
    result = fetch(f"{httpbin}/anything", method=method, headers=given, body="Grüße")
    seen = json.loads(result["body"])
    assert seen["method"] == method
    assert seen["data"] == "Grüße"
    assert seen["headers"]["Idempotency-Key"] == "mine"
    assert seen["headers"]["User-Agent"] == "me"
    assert seen["headers"]["X-Latin"] == "é"


def test_head_has_no_body(httpbin: str) -> None:
    """The runner does not wait for the body of a HEAD response."""
    assert fetch(f"{httpbin}/get", method="HEAD")["body"] == ""


def test_a_path_is_percent_encoded_and_escapes_stay(httpbin: str) -> None:
    """Spaces and non-ASCII characters are encoded, and existing escapes are kept."""
    seen = json.loads(fetch(f"{httpbin}/anything/straße/a b/%2F?q=ä b&r=%26")["body"])
    assert seen["args"] == {"q": "ä b", "r": "&"}
    assert parse_target("http://h/straße/a b/%2F?q=ä#part").path == "/stra%C3%9Fe/a%20b/%2F?q=%C3%A4"


def test_userinfo_becomes_basic_authorization(httpbin: str) -> None:
    """User and password of the URL are decoded, and the user's own Authorization header wins."""
    url = httpbin.replace("http://", "http://me:p%40ss@")
    assert fetch(f"{url}/basic-auth/me/p%40ss")["statusCode"] == 200
    own = "Basic " + base64.b64encode(b"you:word").decode()
    assert fetch(f"{url}/basic-auth/you/word", headers={"authorization": own})["statusCode"] == 200


@pytest.mark.parametrize(
    ("status", "expected", "want"),
    [
        (204, [], None),
        (404, [], "HTTP4xx"),
        (503, [], "HTTP5xx"),
        (302, [], "HTTPStatus"),
        (302, [302], None),
        (418, [418, 200], None),
        (200, [418], "HTTPStatus"),
    ],
)
def test_the_status_decides(httpbin: str, status: int, expected: list[int], want: str | None) -> None:
    """A redirect is not followed, and an unexpected status fails with a result."""
    if want is None:
        assert fetch(f"{httpbin}/status/{status}", expectedStatuses=expected)["statusCode"] == status
        return
    failed = failure(f"{httpbin}/status/{status}", expectedStatuses=expected)
    assert failed.reason == want
    assert failed.result is not None
    assert failed.result["statusCode"] == status


def test_a_gigabyte_is_cut_and_not_read() -> None:
    """The runner stops reading at the limit of a recorded body."""
    sent: list[int] = []

    def flood(client: socket.socket, _request: bytes) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            client.sendall(b"x" * 2**20)
            sent.append(2**20)

    with odd_server(flood) as port:
        result = fetch(f"http://127.0.0.1:{port}/")
    assert result["body"] == "x" * BODY_LIMIT
    assert result["bodyTruncated"] is True
    assert sum(sent) < 2**28


@pytest.mark.parametrize(("length", "want_cut"), [(BODY_LIMIT, False), (BODY_LIMIT + 1, True)])
def test_the_limit_is_exact(length: int, want_cut: bool) -> None:  # noqa: FBT001  # a column of the table
    """A body of exactly 100 KiB is not truncated."""
    with odd_server(saying(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * length)) as port:
        result = fetch(f"http://127.0.0.1:{port}/")
    assert (len(result["body"]), result["bodyTruncated"]) == (BODY_LIMIT, want_cut)


@pytest.mark.parametrize(
    ("head", "body", "want"),
    [
        (b"Content-Type: text/plain", b"caf\xc3\xa9 \xff!", "café \ufffd!"),
        (b"Content-Type: text/plain; charset=latin-1", b"caf\xe9", "café"),
        (b"Content-Type: text/plain; charset=klingon", b"caf\xc3\xa9", "café"),
        (b"Content-Type: text/plain; charset=rot13", b"abc", "abc"),
        (b"X: y", b"a\0b", "ab"),
        (b"Content-Type: text/plain; charset=utf-7", b"+2AA-", "?"),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
    ],
)
def test_any_body_becomes_text_that_postgres_can_keep(head: bytes, body: bytes, want: str) -> None:
    """Invalid UTF-8, unknown charsets, NUL, lone surrogates and chunks become valid text."""
    with odd_server(saying(b"HTTP/1.1 200 OK\r\n", head, b"\r\n\r\n", body)) as port:
        assert fetch(f"http://127.0.0.1:{port}/")["body"] == want


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ([], "Connection"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], "Protocol"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], "Protocol"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "Protocol"),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], "Protocol"),
        ([b"HTTP/1.1 200 OK\r\nX: ", b"y" * 70_000, b"\r\n\r\n"], "Protocol"),
    ],
)
def test_a_server_that_breaks_off_or_speaks_no_http_is_classed(answer: list[bytes], want: str) -> None:
    """The reason tells a closed connection from an invalid response."""
    with odd_server(saying(*answer)) as port:
        assert failure(f"http://127.0.0.1:{port}/").reason == want


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", b"z" * 20_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"z" * 20_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"z" * 20_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (b"1;" + b"e" * 60_000 + b"\r\nz\r\n") * 10),
    ],
    ids=["headers", "interim answers", "a chunk of -5", "a chunk of -1", "no chunk", "trailers", "extensions"],
)
def test_what_has_no_end_is_ended(head: bytes, more: bytes) -> None:
    """An endless response fails before it fills the memory."""
    sent: list[int] = []

    def flood(client: socket.socket, _request: bytes) -> None:
        client.sendall(head)
        while sum(sent) < 2**28:
            client.sendall(more)
            sent.append(len(more))

    with odd_server(flood) as port:
        assert failure(f"http://127.0.0.1:{port}/").reason == "Protocol"
    assert sum(sent) < 2**26


@pytest.mark.parametrize(
    ("status", "header", "want"),
    [
        (429, "7", (True, 7)),
        (503, "7", (None, 7)),
        (408, None, (True, None)),
        (425, None, (True, None)),
        (404, "7", (None, 7)),
    ],
)
def test_a_failure_says_whether_and_when_another_attempt_may_help(
    status: int, header: str | None, want: tuple[bool | None, float | None]
) -> None:
    """The failure carries Retry-After, and whether the status may pass; None leaves that to its class."""
    with serving(lambda _seen: (status, {} if header is None else {"Retry-After": header}, b"")) as server:
        failed = failure_of(make_execution(server.url))
    assert (failed.again, failed.retry_after) == want
