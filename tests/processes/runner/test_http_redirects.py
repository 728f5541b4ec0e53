"""Redirects of the task type ``http``: which are followed, and what is sent to the new location."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from carillon_runner.outcome import TaskFailedError
from carillon_runner.retry import is_tried_again
from carillon_runner.tasks.http_exchange import Answer, parse_target
from carillon_runner.tasks.http_request import Request, _redirected, run
from support.http_tasks import SECRET, UID, failure, failure_of, httpbin, make_execution
from support.scripted_server import Reply, Seen, Server, serving

__all__ = ["httpbin"]


def redirecting(status: int, location: str | Callable[[Seen], str]) -> Reply:
    """Return a reply that redirects ``/`` and answers all other paths."""

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
    """A changed method drops the body and its headers; the Idempotency-Key always stays."""
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
    """At most maxRedirects redirects are followed."""
    with serving(lambda seen: (302, {"Location": f"{seen.path}x"}, b"")) as server:
        failed = failure_of(make_execution(server.url + "/", maxRedirects=most))
    assert failed.reason == "TooManyRedirects"
    assert len(server.seen) == most + 1


def test_a_circle_is_seen_at_once() -> None:
    """A redirect loop fails before maxRedirects is reached."""
    with serving(lambda seen: (302, {"Location": "/b" if seen.path == "/a" else "/a"}, b"")) as server:
        assert failure_of(make_execution(server.url + "/a", maxRedirects=10)).reason == "TooManyRedirects"
    assert [seen.path for seen in server.seen] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("status", "headers", "spec", "want"),
    [
        (302, {"Location": "/x"}, {}, "HTTPStatus"),
        (302, {"Location": "/x"}, {"maxRedirects": 3, "expectedStatuses": [302]}, None),
        (302, {}, {"maxRedirects": 3}, "HTTPStatus"),
        (304, {"Location": "/x"}, {"maxRedirects": 3}, "HTTPStatus"),
    ],
)
def test_what_is_no_redirect_is_an_answer(
    status: int, headers: dict[str, str], spec: dict[str, Any], want: str | None
) -> None:
    """A 3xx is a response if redirects are off, it has no Location, or it is expected."""
    with serving(lambda _seen: (status, headers, b"")) as server:
        execution = make_execution(server.url + "/", **spec)
        if want is None:
            assert run(execution)["statusCode"] == status
        else:
            assert failure_of(execution).reason == want
    assert len(server.seen) == 1


@pytest.mark.parametrize("location", ["ftp://h/", "javascript:alert(1)", "http://h:99999/", "//[::g]/"])
def test_a_redirect_to_no_url_is_blocked(location: str) -> None:
    """The message does not repeat the location."""
    with serving(redirecting(302, location)) as server:
        failed = failure_of(make_execution(server.url + "/", maxRedirects=2))
    assert failed.reason == "BlockedRedirect"
    assert location not in failed.message


def test_a_redirect_from_https_to_http_is_blocked() -> None:
    """A redirect from HTTPS to plain HTTP fails."""
    request = Request("https://h/a", parse_target("https://h/a"), "GET", {}, {"X": "y"}, None)
    with pytest.raises(TaskFailedError) as caught:
        _redirected(request, Answer(302, {"Location": "http://h/b"}, b"", None))
    assert caught.value.reason == "BlockedRedirect"
    assert _redirected(request, Answer(302, {"Location": "/b"}, b"", None)).secret_headers == {"X": "y"}


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "//169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/"])
def test_a_redirect_to_a_closed_address_is_not_followed(httpbin: str, location: str) -> None:
    """The address is checked at each redirect."""
    url = f"{httpbin}/redirect-to?status_code=307&url={location}"
    failed = failure(url, maxRedirects=3, method="POST", body="x")
    assert failed.reason == "BlockedAddress"
    assert is_tried_again(failed.reason) is False


def test_another_origin_gets_no_secrets() -> None:
    """Secrets, credentials and signatures are not sent to another origin, nor back from there."""
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
    """Within one origin credentials stay; the signature is dropped with the body that it signs."""
    signing = [{"variable": "CARILLON_SECRET_0", "source": "k"}]
    secrets = {"CARILLON_SECRET_0": "whsec_AAAA"}
    for status, want in ((307, True), (303, False)):
        with serving(redirecting(status, "/x")) as server:
            spec: dict[str, Any] = {"method": "POST", "body": "b", "maxRedirects": 1, "headers": {"Authorization": "a"}}
            run(make_execution(server.url + "/", secrets, signing=signing, **spec))
        assert server.seen[1].headers["authorization"] == "a"
        assert ("webhook-signature" in server.seen[1].headers) is want
