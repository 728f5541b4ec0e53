"""The connections of the task type ``http``: names, addresses, TLS, proxies."""

import socket
import ssl
import time
from pathlib import Path

import pytest

from carillon_runner.tasks.http_exchange import connected_socket, parse_target
from support.http_tasks import failure, fetch, httpbin
from support.odd_server import odd_server, saying
from support.recording_server import RecordingServer

__all__ = ["httpbin"]


# only for this test: self-signed, for localhost and 127.0.0.1, valid for a hundred years
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


def test_nobody_listening_is_a_connection_error() -> None:
    """A refused connection fails with the reason connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = failure(f"http://127.0.0.1:{port}/")
    assert (failed.reason, failed.result) == ("Connection", None)


@pytest.mark.parametrize("host", ["carillon.invalid", "a..b", "x" * 64])
def test_a_name_without_an_address_is_a_dns_error(host: str) -> None:
    """Unknown and invalid names fail with the reason dns."""
    assert failure(f"http://{host}/").reason == "DNS"


def test_an_address_that_refuses_or_is_silent_leaves_time_for_the_next() -> None:
    """All addresses of a name are tried before the deadline."""
    with (
        socket.create_server(("127.0.0.1", 0)) as good,
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.create_connection(silent.getsockname()),  # fills its queue: it answers no further connection
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))  # bound, but not listening
        addresses = [(socket.AF_INET, s.getsockname()) for s in (bound, silent, good)]
        deadline = time.monotonic() + 4
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
    """The host is in ASCII, the port has a default, and the path is never empty."""
    target = parse_target(url)
    assert (target.host, target.port, target.path) == want


@pytest.mark.parametrize(
    "url",
    ["ftp://h/", "http://", "http://h:99999/", "http://h:x/", "http://[::g]/", "http://a b/", "http://xn--ü/"],
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    """An invalid URL fails before anything is sent."""
    assert failure(url).reason == "InvalidRequest"


def test_a_port_that_does_not_exist_is_named() -> None:
    """The URL is absolute; a message that said it was not sent readers looking at the wrong part."""
    assert str(failure("https://h:99999/")) == "the URL has the invalid port 99999: use a port from 1 to 65535"
    assert str(failure("https://h:0/")) == "the URL has the invalid port 0: use a port from 1 to 65535"


def test_an_ipv6_literal_is_reached_and_named_in_brackets() -> None:
    """The Host header has the brackets of RFC 3986, 3.2.2."""
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
    """A certificate in ``SSL_CERT_FILE`` is trusted, as in OpenSSL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with odd_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), context=context) as port:
        assert fetch(f"https://localhost:{port}/")["body"] == "ok"


def test_a_certificate_that_nobody_vouches_for_is_a_tls_error(certificate: Path) -> None:
    """A certificate without a trusted authority fails with the reason tls."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with odd_server(saying(b"HTTP/1.1 200 OK\r\n\r\n"), context=context) as port:
        assert failure(f"https://localhost:{port}/").reason == "TLS"


def test_a_server_without_tls_is_a_tls_error(httpbin: str) -> None:
    """HTTPS to a plain HTTP port fails with the reason tls."""
    assert failure(httpbin.replace("http://", "https://")).reason == "TLS"


def test_proxies_of_the_environment_are_not_used(httpbin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go directly to the URL's host, because a proxy would resolve names on its own."""
    with RecordingServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "")
        assert fetch(f"{httpbin}/get")["statusCode"] == 200
        assert failure(httpbin.replace("http://", "https://")).reason == "TLS"
        assert failure("http://carillon.invalid/").reason == "DNS"
        assert proxy.seen == []


def test_a_proxy_opens_nothing(httpbin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment does not open a closed address."""
    monkeypatch.setenv("http_proxy", httpbin)
    assert failure("http://10.0.0.1/").reason == "BlockedAddress"


def test_a_template_does_not_lead_inward() -> None:
    """The rendered URL is checked."""
    failed = failure("http://{{ '10.' ~ '0.0.1' }}/?{{ slot }}")
    assert failed.reason == "BlockedAddress"
    assert failed.message.startswith("10.0.0.1 is in 10.0.0.0/8 (private use, RFC 1918), which is not allowed")
