"""Redirects, secrets and signatures of HTTP tasks: what goes where, and what is never repeated."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from carillon_core.domain.egress.rules import parse_allow_list
from carillon_runner.environment import Environment
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.tasks.http_exchange import Answer, parse_target
from carillon_runner.tasks.http_request import BODY_LIMIT, Request, _redirected, run
from carillon_runner.tasks.http_secrets import read_secrets

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")
TOKEN = 'Bearer s3cr3t-"tök<en/1'  # noqa: S105  # a made-up one, to look for
SECRET = [{"name": "X-Token", "variable": "CARILLON_SECRET_0", "source": "key token of Secret shop"}]


@dataclass
class Seen:
    """A request that came to a server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A server that remembers what it was asked."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Reply = Callable[[Seen], tuple[int, Mapping[str, str], bytes]]


@contextmanager
def serving(reply: Reply) -> Iterator[Server]:
    """Serve with these answers on a free port."""
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Seen(self.command, self.path, headers, self.rfile.read(length))
            made.seen.append(request)
            status, more, body = reply(request)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815  # the library's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_execution(url: str, secrets: Mapping[str, str] | None = None, **spec: Any) -> Execution:
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
        timeout_seconds=60,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
        http_allow=parse_allow_list("127.0.0.0/8,::1"),
        parameters={"who": "Ann"},
        secrets=secrets or {},
    )
    return Execution(environment, time.monotonic() + 60, lambda _name: 0, attempt=3)


def failure(execution: Execution) -> TaskFailedError:
    """Run a request that is expected to fail."""
    with pytest.raises(TaskFailedError) as caught:
        run(execution)
    return caught.value


def redirecting(status: int, location: str | Callable[[Seen], str]) -> Reply:
    """Redirect ``/`` and answer everything else."""

    def reply(seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        if seen.path != "/":
            return 200, {}, b"there"
        return status, {"Location": location if isinstance(location, str) else location(seen)}, b"go"

    return reply


@pytest.mark.parametrize(
    ("status", "method", "want"),
    [
        (301, "GET", ("GET", b"")),
        (301, "POST", ("GET", b"")),
        (302, "POST", ("GET", b"")),
        (302, "PUT", ("PUT", b"body")),
        (303, "POST", ("GET", b"")),
        (303, "PUT", ("GET", b"")),
        (303, "HEAD", ("HEAD", b"")),
        (307, "POST", ("POST", b"body")),
        (308, "POST", ("POST", b"body")),
        (308, "DELETE", ("DELETE", b"")),
    ],
)
def test_a_redirect_is_followed_as_browsers_do(status: int, method: str, want: tuple[str, bytes]) -> None:
    """Where the method changes, the body and what speaks of it stay behind; the key of idempotency never does."""
    body: dict[str, Any] = (
        {"body": "body", "headers": {"Content-Type": "text/plain"}} if method in {"POST", "PUT"} else {}
    )
    with serving(redirecting(status, "/there?x=1#part")) as server:
        result = run(make_execution(server.url + "/", method=method, maxRedirects=1, **body))
    assert (result["statusCode"], result["redirects"]) == (200, 1)
    last = server.seen[-1]
    assert (last.method, last.body, last.path) == (*want, "/there?x=1")
    assert ("content-type" in last.headers) is bool(want[1])
    assert {seen.headers["idempotency-key"] for seen in server.seen} == {str(UID)}


@pytest.mark.parametrize("most", [1, 3, 10])
def test_too_many_redirects_are_not_followed(most: int) -> None:
    """As many as the task says, and no more are sent."""
    with serving(lambda seen: (302, {"Location": f"{seen.path}x"}, b"")) as server:
        failed = failure(make_execution(server.url + "/", maxRedirects=most))
    assert failed.reason == "TooManyRedirects"
    assert len(server.seen) == most + 1


def test_a_circle_is_seen_at_once() -> None:
    """Not after all that the task allows."""
    with serving(lambda seen: (302, {"Location": "/b" if seen.path == "/a" else "/a"}, b"")) as server:
        assert failure(make_execution(server.url + "/a", maxRedirects=10)).reason == "TooManyRedirects"
    assert [seen.path for seen in server.seen] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("status", "headers", "spec", "want"),
    [
        (302, {"Location": "/x"}, {}, "http_status"),
        (302, {"Location": "/x"}, {"maxRedirects": 3, "expectedStatuses": [302]}, None),
        (302, {}, {"maxRedirects": 3}, "http_status"),
        (304, {"Location": "/x"}, {"maxRedirects": 3}, "http_status"),
    ],
)
def test_what_is_no_redirect_is_an_answer(
    status: int, headers: dict[str, str], spec: dict[str, Any], want: str | None
) -> None:
    """Without a leave, without a place, of another meaning, or expected as it is."""
    with serving(lambda _seen: (status, headers, b"")) as server:
        execution = make_execution(server.url + "/", **spec)
        if want is None:
            assert run(execution)["statusCode"] == status
        else:
            assert failure(execution).reason == want
    assert len(server.seen) == 1


@pytest.mark.parametrize("location", ["ftp://h/", "javascript:alert(1)", "http://h:99999/", "//[::g]/"])
def test_a_redirect_to_no_url_is_blocked(location: str) -> None:
    """And says so without repeating it."""
    with serving(redirecting(302, location)) as server:
        failed = failure(make_execution(server.url + "/", maxRedirects=2))
    assert failed.reason == "BlockedRedirect"
    assert location not in failed.message


def test_a_redirect_from_https_to_http_is_blocked() -> None:
    """What was sent in private is not sent on in the clear."""
    request = Request("https://h/a", parse_target("https://h/a"), "GET", {}, {"X": "y"}, None)
    with pytest.raises(TaskFailedError) as caught:
        _redirected(request, Answer(302, {"Location": "http://h/b"}, b"", None))
    assert caught.value.reason == "BlockedRedirect"
    assert _redirected(request, Answer(302, {"Location": "/b"}, b"", None)).secret_headers == {"X": "y"}


def test_another_origin_gets_no_secrets() -> None:
    """Neither those of Secrets, nor credentials, nor signatures; also not when it leads back."""
    own: Server

    def away(seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        return 307, {"Location": f"{own.url}/back"}, seen.headers.get("x-token", "").encode()

    with serving(away) as other, serving(redirecting(307, lambda _: f"{other.url}/away")) as own:
        execution = make_execution(
            own.url.replace("//", "//me:hunter2@") + "/",
            {"CARILLON_SECRET_0": "s3cr3t", "CARILLON_SECRET_1": "whsec_AAAA"},
            method="POST",
            body="b",
            maxRedirects=5,
            headers={"Cookie": "id=1", "X-Plain": "1"},
            secretHeaders=SECRET,
            signing=[{"variable": "CARILLON_SECRET_1", "source": "k"}],
        )
        assert run(execution)["redirects"] == 2
    first, back = own.seen
    private = {"x-token", "authorization", "cookie", "webhook-id", "webhook-timestamp", "webhook-signature"}
    assert private <= set(first.headers)
    for seen in (other.seen[0], back):
        assert private.isdisjoint(seen.headers)
        assert (seen.headers["x-plain"], seen.body) == ("1", b"b")


def test_the_same_origin_keeps_them_and_a_changed_method_leaves_the_signature() -> None:
    """It was over a body that is not there any more."""
    signing = [{"variable": "CARILLON_SECRET_0", "source": "k"}]
    secrets = {"CARILLON_SECRET_0": "whsec_AAAA"}
    for status, want in ((307, True), (303, False)):
        with serving(redirecting(status, "/x")) as server:
            spec: dict[str, Any] = {"method": "POST", "body": "b", "maxRedirects": 1, "headers": {"Authorization": "a"}}
            run(make_execution(server.url + "/", secrets, signing=signing, **spec))
        assert server.seen[1].headers["authorization"] == "a"
        assert ("webhook-signature" in server.seen[1].headers) is want


ECHOES: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda value: value.encode("latin-1"),
    "in UTF-8": lambda value: value.encode(),
    "in JSON": lambda value: json.dumps({"got": value}).encode(),
    "without its scheme": lambda value: value.removeprefix("Bearer ").encode(),
    "in capitals": lambda value: value.upper().encode(),
    "in a URL": lambda value: f"/?t={quote(value)}".encode(),
    "in HTML": lambda value: escape(value).encode(),
    "in base64": lambda value: base64.b64encode(value.encode()),
    "with a NUL in it": lambda value: value.replace("3", "\0" + "3").encode(),
    "across the cut": lambda value: b"." * (BODY_LIMIT - 5) + value.encode() + b"." * 5000,
    "many times": lambda value: value.encode() * 5000,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_repeats_a_secret_is_recorded_without_it(echo: Callable[[str], bytes], status: int) -> None:
    """However the server writes it, and wherever the body is cut."""

    def reply(seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        assert seen.headers["x-token"] == TOKEN.encode("latin-1").decode("latin-1")
        kind = "text/plain; charset=latin-1" if echo is ECHOES["as it is"] else "text/plain"
        return status, {"Content-Type": kind}, echo(TOKEN)

    with serving(reply) as server:
        execution = make_execution(server.url, {"CARILLON_SECRET_0": f"{TOKEN}\n"}, secretHeaders=SECRET)
        result = run(execution) if status == 200 else failure(execution).result
    assert result is not None
    body = result["body"]
    assert "***" in body
    for part in ("s3cr3t", "en/1", base64.b64encode(TOKEN.encode()).decode()[:20], "S3CR3T"):
        assert part not in body
    assert len(body) <= BODY_LIMIT
    assert result["bodyTruncated"] is (len(echo(TOKEN)) > BODY_LIMIT)


@pytest.mark.parametrize("value", ["", "\n", "a\nb", "a\r\nX: y", "a\0b", "\u20ac"])
def test_a_secret_that_is_no_header_is_refused_without_its_value(value: str) -> None:
    """Nothing is sent, and the sentence names where to mend it."""
    failed = failure(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_0": value}, secretHeaders=SECRET))
    assert failed.reason == "InvalidRequest"
    assert failed.message.startswith("the value of key token of Secret shop is empty, or has")
    assert not value or value not in failed.message


def test_a_secret_that_is_not_there_is_named() -> None:
    """By its source, as people know it."""
    failed = failure(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_1": "x"}, secretHeaders=SECRET))
    assert failed.reason == "SecretMissing"
    assert "key token of Secret shop" in failed.message


def test_a_secret_is_no_template_and_wins_over_a_plain_header() -> None:
    """Whatever case the names are in."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        spec: dict[str, Any] = {"secretHeaders": SECRET, "headers": {"x-token": "plain", "X-B": "{{ attempt }}"}}
        run(make_execution(server.url, {"CARILLON_SECRET_0": "{{ slot }}"}, **spec))
    assert (server.seen[0].headers["x-token"], server.seen[0].headers["x-b"]) == ("{{ slot }}", "3")


def test_templates_are_rendered_in_url_headers_and_body() -> None:
    """Over what the execution knows; the method is none."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        spec: dict[str, Any] = {
            "headers": {"X-Slot": "{{ slot }}"},
            "body": '{"to": "{{ parameters.who }}"}',
            "method": "PUT",
        }
        run(make_execution(server.url + "/{{ parameters.who }}?id={{ execution_id }}", **spec))
    seen = server.seen[0]
    assert (seen.path, seen.headers["x-slot"], seen.body) == (
        f"/Ann?id={UID}",
        "2026-01-01T00:00:00Z",
        b'{"to": "Ann"}',
    )


@pytest.mark.parametrize("text", ["{{ 'a\\nX-Evil: 1' }}", "{{ '\\u20ac' }}"])
def test_a_template_cannot_write_a_second_header(text: str) -> None:
    """What it renders is checked as what stands there."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        assert failure(make_execution(server.url, headers={"X-A": text})).reason == "InvalidRequest"
    assert server.seen == []


RAW = b"raw key"
CODED = "whsec_" + base64.b64encode(b"coded key").decode()


@pytest.mark.parametrize("body", [None, "", '{"a": "\u00fc {{ attempt }}"}'])
def test_a_request_is_signed_as_standard_webhooks_say(body: str | None) -> None:
    """By each key, over the id, the time and the body as it was sent."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        execution = make_execution(
            server.url,
            {"CARILLON_SECRET_0": f"{RAW.decode()}\n", "CARILLON_SECRET_1": CODED},
            method="POST",
            signing=[{"variable": f"CARILLON_SECRET_{n}", "source": "k"} for n in (0, 1)],
            **({} if body is None else {"body": body}),
        )
        run(execution)
    seen = server.seen[0]
    assert seen.headers["webhook-id"] == str(UID)
    timestamp = seen.headers["webhook-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    signed = f"{UID}.{timestamp}.".encode() + seen.body
    want = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in (RAW, b"coded key")]
    assert seen.headers["webhook-signature"] == " ".join(f"v1,{signature}" for signature in want)


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """The vector of the Standard Webhooks reference libraries' tests."""
    spec = {"signing": [{"variable": "V", "source": "k"}]}
    (key,) = read_secrets(spec, {"V": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}).keys
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    assert signature == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("value", ["whsec_!!", "whsec_", "whsec_hunter2", ""])
def test_a_key_that_is_none_is_refused_without_its_value(value: str) -> None:
    """Before anything is sent."""
    spec = {"signing": [{"variable": "CARILLON_SECRET_0", "source": "key s of Secret k"}]}
    failed = failure(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_0": value}, **spec))
    assert failed.reason == "InvalidRequest"
    assert "key s of Secret k" in failed.message
    assert "hunter2" not in failed.message


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
    """None leaves it to the class: a 4xx is not tried again, but those that may pass."""
    with serving(lambda _seen: (status, {} if header is None else {"Retry-After": header}, b"")) as server:
        failed = failure(make_execution(server.url))
    assert (failed.again, failed.retry_after) == want
