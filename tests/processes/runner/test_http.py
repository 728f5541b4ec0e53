"""The task type ``http`` against real servers on the loopback: httpbin, and servers that misbehave."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from httpbin import app
from werkzeug.serving import make_server

from carillon_core.domain.egress.rules import parse_allow_list
from carillon_runner.environment import Environment
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.retry import is_tried_again
from carillon_runner.tasks.http_exchange import connected_socket, parse_target
from carillon_runner.tasks.http_request import BODY_LIMIT, run
from support.recording_server import RecordingServer

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")

# made for this test alone: self-signed, for localhost and 127.0.0.1, good for a hundred years
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRi5G8f60MqBeIjpy
FhYibGxubT88Nr6grv8kZceoB4ChRANCAAQnx4Xjky30An/Jn4fWiNYXM2YP/c8s
PPQPbeYvP0VLhkWMma6QTQrrGPal1u3EkhxRT/2mLtLQiSx0vGWbs5Tv
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBojCCAUmgAwIBAgIUKwq3ZXt8eLQIRVdZ6zDnLDUtAx8wCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNY2FyaWxsb24tdGVzdDAgFw0yNjExMjEwNjIwNDdaGA8yMTI2
MTAyODA2MjA0N1owGDEWMBQGA1UEAwwNY2FyaWxsb24tdGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABCfHheOTLfQCf8mfh9aI1hczZg/9zyw89A9t5i8/RUuG
RYyZrpBNCusY9qXW7cSSHFFP/aYu0tCJLHS8ZZuzlO+jbzBtMB0GA1UdDgQWBBQ6
FdYeoIp2FifrNkvTlRaF5uLKYDAfBgNVHSMEGDAWgBQ6FdYeoIp2FifrNkvTlRaF
5uLKYDAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAA
ATAKBggqhkjOPQQDAgNHADBEAiBE4VL+YosWd3HDdMScuXz9y4vzeJsYK37WPQMk
ojFJvQIgJHZA/OPWYeVQUhz9wBRxT4WouIp8iFK9UoYwdDhCXWU=
-----END CERTIFICATE-----
"""


def make_execution(url: str, seconds: float = 60, **spec: Any) -> Execution:
    """Return an execution of one request."""
    environment = Environment(
        database_url="postgresql://",
        token="",
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type="http",
        spec={"url": url, **spec},
        slot=datetime(2026, 1, 1, tzinfo=UTC),
        cause="schedule",
        timeout_seconds=seconds,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
        http_allow=parse_allow_list("127.0.0.0/8,::1"),
    )
    return Execution(environment, time.monotonic() + seconds, lambda _name: 0)


def fetch(url: str, **spec: Any) -> dict[str, Any]:
    """Run a request that is expected to succeed."""
    return dict(run(make_execution(url, **spec)))


def failure(url: str, **spec: Any) -> TaskFailedError:
    """Run a request that is expected to fail."""
    with pytest.raises(TaskFailedError) as caught:
        run(make_execution(url, **spec))
    return caught.value


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """Serve httpbin on a free port of the loopback."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def odd_server(
    answer: Callable[[socket.socket, bytes], None], host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve one connection: read the request's head, then do with it what ``answer`` does; yield the port."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def serve() -> None:
        try:
            sock, _ = listener.accept()
            with context.wrap_socket(sock, server_side=True) if context else sock as client:
                request = b""
                while b"\r\n\r\n" not in request and (chunk := client.recv(65_536)):
                    request += chunk
                answer(client, request)
        except OSError:
            return  # the runner went, or refused the certificate: what the test looks at is on its side

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # wakes an accept that nobody came to
        with socket.socket(listener.family) as waker:
            waker.connect_ex(listener.getsockname())
        thread.join()
        listener.close()


def saying(*parts: bytes) -> Callable[[socket.socket, bytes], None]:
    """Return an answer of these bytes, after which the connection is closed."""

    def answer(client: socket.socket, _request: bytes) -> None:
        for part in parts:
            client.sendall(part)

    return answer


def test_a_request_records_status_time_and_body(httpbin: str) -> None:
    """What the server saw comes back in its body."""
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
    """The user's headers win over ours, whatever their case."""
    given = {"idempotency-key": "mine", "user-agent": "me", "X-Latin": "é", "Content-Type": "text/plain"}
    result = fetch(f"{httpbin}/anything", method=method, headers=given, body="Grüße")
    seen = json.loads(result["body"])
    assert seen["method"] == method
    assert seen["data"] == "Grüße"
    assert seen["headers"]["Idempotency-Key"] == "mine"
    assert seen["headers"]["User-Agent"] == "me"
    assert seen["headers"]["X-Latin"] == "é"


def test_head_has_no_body(httpbin: str) -> None:
    """And is not waited for."""
    assert fetch(f"{httpbin}/get", method="HEAD")["body"] == ""


def test_a_path_is_percent_encoded_and_escapes_stay(httpbin: str) -> None:
    """A path in any script, a space, and what is encoded already."""
    seen = json.loads(fetch(f"{httpbin}/anything/straße/a b/%2F?q=ä b&r=%26")["body"])
    assert seen["args"] == {"q": "ä b", "r": "&"}
    assert parse_target("http://h/straße/a b/%2F?q=ä#part").path == "/stra%C3%9Fe/a%20b/%2F?q=%C3%A4"


def test_userinfo_becomes_basic_authorization(httpbin: str) -> None:
    """Percent-encoded in the URL, plain in the header; a header of the user's own wins."""
    url = httpbin.replace("http://", "http://me:p%40ss@")
    assert fetch(f"{url}/basic-auth/me/p%40ss")["statusCode"] == 200
    own = "Basic " + base64.b64encode(b"you:word").decode()
    assert fetch(f"{url}/basic-auth/you/word", headers={"authorization": own})["statusCode"] == 200


@pytest.mark.parametrize(
    ("status", "expected", "want"),
    [
        (204, [], None),
        (404, [], "http_4xx"),
        (503, [], "http_5xx"),
        (302, [], "http_status"),
        (302, [302], None),
        (418, [418, 200], None),
        (200, [418], "http_status"),
    ],
)
def test_the_status_decides(httpbin: str, status: int, expected: list[int], want: str | None) -> None:
    """A redirect is not followed; an unexpected status keeps the result."""
    if want is None:
        assert fetch(f"{httpbin}/status/{status}", expectedStatuses=expected)["statusCode"] == status
        return
    failed = failure(f"{httpbin}/status/{status}", expectedStatuses=expected)
    assert failed.reason == want
    assert failed.result is not None
    assert failed.result["statusCode"] == status


def test_a_gigabyte_is_cut_and_not_read() -> None:
    """Only so much is taken as is kept; the server's sending fails soon after."""
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
    """A body of just 100 KiB is whole."""
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
    """Invalid UTF-8, unknown charsets, NUL, lone surrogates, chunks."""
    with odd_server(saying(b"HTTP/1.1 200 OK\r\n", head, b"\r\n\r\n", body)) as port:
        assert fetch(f"http://127.0.0.1:{port}/")["body"] == want


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ([], "connection"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], "protocol"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "protocol"),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\nX: ", b"y" * 70_000, b"\r\n\r\n"], "protocol"),
    ],
)
def test_a_server_that_breaks_off_or_speaks_no_http_is_classed(answer: list[bytes], want: str) -> None:
    """The class is the row's reason."""
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
    """Before it fills the memory, whatever the library would read."""
    sent: list[int] = []

    def flood(client: socket.socket, _request: bytes) -> None:
        client.sendall(head)
        while sum(sent) < 2**28:
            client.sendall(more)
            sent.append(len(more))

    with odd_server(flood) as port:
        assert failure(f"http://127.0.0.1:{port}/").reason == "protocol"
    assert sum(sent) < 2**26


def test_nobody_listening_is_a_connection_error() -> None:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = failure(f"http://127.0.0.1:{port}/")
    assert (failed.reason, failed.result) == ("connection", None)


@pytest.mark.parametrize("host", ["carillon.invalid", "a..b", "x" * 64])
def test_a_name_without_an_address_is_a_dns_error(host: str) -> None:
    """Names that do not exist (RFC 6761), and names that cannot."""
    assert failure(f"http://{host}/").reason == "dns"


def test_an_address_that_refuses_or_is_silent_leaves_time_for_the_next() -> None:
    """A name may have several, of which one answers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as good,
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.create_connection(silent.getsockname()),  # fills its queue: from now on it answers nobody
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))  # and does not listen
        addresses = [(socket.AF_INET, s.getsockname()) for s in (bound, silent, good)]
        deadline = time.monotonic() + 2
        with connected_socket(addresses, deadline) as sock:
            assert time.monotonic() < deadline
            assert sock.getpeername() == good.getsockname()
            assert sock.gettimeout() is None


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("http://bücher.example/", ("xn--bcher-kva.example", 80, "/")),
        ("https://h", ("h", 443, "/")),
        ("HTTP://H:8080?x=1", ("h", 8080, "/?x=1")),
        ("http://[::1]:81/p", ("::1", 81, "/p")),
    ],
)
def test_a_url_leads_somewhere(url: str, want: tuple[str, int, str]) -> None:
    """Host in ASCII, port, request target."""
    target = parse_target(url)
    assert (target.host, target.port, target.path) == want


@pytest.mark.parametrize(
    "url",
    ["ftp://h/", "http://", "http://h:99999/", "http://h:x/", "http://[::g]/", "http://a b/", "http://xn--ü/"],
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    """Before anything is sent."""
    assert failure(url).reason == "InvalidRequest"


def test_an_ipv6_literal_is_reached_and_named_in_brackets() -> None:
    """RFC 3986, 3.2.2."""
    seen: list[bytes] = []

    def answer(client: socket.socket, request: bytes) -> None:
        seen.append(request)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with odd_server(answer, host="::1") as port:
        assert fetch(f"http://[::1]:{port}/")["statusCode"] == 200
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in seen[0]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Write the key and the certificate to a file."""
    path = tmp_path / "server.pem"
    path.write_text(CERTIFICATE)
    return path


def test_https_verifies_and_speaks(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted through ``SSL_CERT_FILE``, as OpenSSL has it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with odd_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), context=context) as port:
        assert fetch(f"https://localhost:{port}/")["body"] == "ok"


def test_a_certificate_that_nobody_vouches_for_is_a_tls_error(certificate: Path) -> None:
    """The system's own list of authorities does not know it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with odd_server(saying(b"HTTP/1.1 200 OK\r\n\r\n"), context=context) as port:
        assert failure(f"https://localhost:{port}/").reason == "tls"


def test_a_server_without_tls_is_a_tls_error(httpbin: str) -> None:
    """Https spoken to a port of plain http."""
    assert failure(httpbin.replace("http://", "https://")).reason == "tls"


def test_proxies_of_the_environment_are_not_used(httpbin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task reaches is what its spec says: a proxy would look names up anew, and connect to what it likes."""
    with RecordingServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        assert fetch(f"{httpbin}/get")["statusCode"] == 200
        assert failure(httpbin.replace("http://", "https://")).reason == "tls"
        assert failure("http://carillon.invalid/").reason == "dns"
        assert proxy.seen == []


def test_a_proxy_opens_nothing(httpbin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is public a way to an address that is closed."""
    monkeypatch.setenv("http_proxy", httpbin)
    assert failure("http://10.0.0.1/").reason == "BlockedAddress"


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "//169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/"])
def test_a_redirect_to_a_closed_address_is_not_followed(httpbin: str, location: str) -> None:
    """The address is judged at each hop; a 307 would take method and body along."""
    url = f"{httpbin}/redirect-to?status_code=307&url={location}"
    failed = failure(url, maxRedirects=3, method="POST", body="x")
    assert failed.reason == "BlockedAddress"
    assert is_tried_again(failed.reason) is False


def test_a_template_does_not_lead_inward() -> None:
    """The rendered URL is judged."""
    failed = failure("http://{{ '10.' ~ '0.0.1' }}/?{{ slot }}")
    assert failed.reason == "BlockedAddress"
    assert failed.message.startswith("10.0.0.1 is in 10.0.0.0/8 (private use, RFC 1918), which is not allowed")


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://me:hunter2@127.0.0.1:1/?token=hunter2", {}),
        ("http://me:hunter2@carillon.invalid/hunter2", {"X-Token": "hunter2"}),
        ("https://me:hunter2@{host}/status/500", {"X-Token": "hunter2"}),
        ("http://me:hunter2@{host}/status/500?hunter2", {"X-Token": "hunter2"}),
        ("http://me:hunter2@{host}/", {"X-Token": "hunter2\n"}),
        ("http://me:hunter2@{host}/", {"X-Token": "hunter2\u20ac"}),
        ("http://me:hunter2@{host}:99999/", {}),
        ("http://{host}/", {"X-hunter2:": "z"}),
    ],
)
def test_no_error_repeats_a_secret(httpbin: str, url: str, headers: dict[str, str]) -> None:
    """Neither the URL's user and password, nor its query, nor a header."""
    failed = failure(url.replace("{host}", httpbin.removeprefix("http://")), headers=headers)
    assert "hunter2" not in f"{failed} {failed.message} {failed.reason} {failed.result}"
