"""Secrets, templates and signatures of the task type ``http``: what is sent, and what is redacted."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import pytest

from carillon_runner.tasks.http_request import BODY_LIMIT, run
from carillon_runner.tasks.http_secrets import read_secrets
from support.deadline import deadline
from support.http_tasks import SECRET, UID, failure, failure_of, httpbin, make_execution
from support.scripted_server import Seen, serving

__all__ = ["httpbin"]


TOKEN = 'Bearer s3cr3t-"tök<en/1'  # noqa: S105  # a made-up one, to look for
ECHOES: dict[str, Callable[[str], bytes]] = {
    "as it is": lambda value: value.encode("latin-1"),
    "in UTF-8": lambda value: value.encode(),
    "in JSON": lambda value: json.dumps({"got": value}).encode(),
    "without its scheme": lambda value: value.removeprefix("Bearer ").encode(),
    "in capitals": lambda value: value.upper().encode(),
    "in a URL": lambda value: f"/?t={quote(value)}".encode(),
    "in HTML": lambda value: escape(value).encode(),
    "in base64": lambda value: base64.b64encode(value.encode()),
    "in JSON of other programs": lambda value: (
        value.replace('"', "\\u0022").replace("<", "\\u003C").replace("/", "\\/").encode()
    ),
    "in HTML within JSON": lambda value: json.dumps({"page": escape(value)}).encode(),
    "in HTML within JSON of other programs": lambda value: escape(value).replace("&", "\\u0026").encode(),
    "in JSON within HTML": lambda value: escape(json.dumps({"got": value})).encode(),
    "in JSON within JSON": lambda value: json.dumps({"got": json.dumps({"got": value})}).encode(),
    "in HTML by numbers": lambda value: (
        value.replace('"', "&#34;").replace("<", "&#x3c;").replace("/", "&#47;").encode()
    ),
    "in a URL within a URL": lambda value: quote(quote(value)).encode(),
    "in hex": lambda value: value.encode().hex().encode(),
    "in hex in capitals": lambda value: value.encode().hex().upper().encode(),
    "in hex of latin-1": lambda value: value.encode("latin-1").hex().encode(),
    "in base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()),
    "in base64 after one byte": lambda value: base64.b64encode(b":" + value.encode() + b"!"),
    "in base64 after a user": lambda value: base64.b64encode(b"me:" + value.encode()),
    "in base64 with a user": lambda value: base64.b64encode(b"user:" + value.removeprefix("Bearer ").encode() + b"\n"),
    "with a NUL in it": lambda value: value.replace("3", "\0" + "3").encode(),
    "across the cut": lambda value: b"." * (BODY_LIMIT - 5) + value.encode() + b"." * 5000,
    "many times": lambda value: value.encode() * 5000,
}


PARTS = (
    "s3cr3t",
    "tök",
    "en/1",
    *(base64.b64encode(b"\0" * k + b's3cr3t-"')[4:-4].decode() for k in range(3)),
    b"s3cr3t".hex(),
)
"""Of which none may be recorded, in capitals or not."""


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_repeats_a_secret_is_recorded_without_it(echo: Callable[[str], bytes], status: int) -> None:
    """The secret is redacted in any encoding, also where the body is truncated."""

    def reply(seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        assert seen.headers["x-token"] == TOKEN.encode("latin-1").decode("latin-1")
        kind = "text/plain; charset=latin-1" if echo is ECHOES["as it is"] else "text/plain"
        return status, {"Content-Type": kind}, echo(TOKEN)

    with serving(reply) as server:
        execution = make_execution(server.url, {"CARILLON_SECRET_0": f"{TOKEN}\n"}, secretHeaders=SECRET)
        result = run(execution) if status == 200 else failure_of(execution).result
    assert result is not None
    body = result["body"]
    assert "***" in body
    for part in PARTS:
        assert part.lower() not in body.lower()
    assert len(body) <= BODY_LIMIT
    assert result["bodyTruncated"] is (len(echo(TOKEN)) > BODY_LIMIT)


@pytest.mark.parametrize("around", [("", " "), ("", "\t"), ("", " \t\n"), ("\t ", ""), ("  ", " \r\n")])
@pytest.mark.parametrize("is_echoed_stripped", [True, False])
def test_blanks_around_a_secret_are_not_sent(around: tuple[str, str], *, is_echoed_stripped: bool) -> None:
    """Servers strip them, so that what they echo is not what the Secret holds; neither is recorded."""
    given = around[0] + "s3cr3t" + around[1]

    def reply(seen: Seen) -> tuple[int, Mapping[str, str], bytes]:
        assert seen.headers["x-token"] == "s3cr3t"
        return 200, {}, b"<%s>" % (b"s3cr3t" if is_echoed_stripped else given.encode())

    with serving(reply) as server:
        body = run(make_execution(server.url, {"CARILLON_SECRET_0": given}, secretHeaders=SECRET))["body"]
    assert body.replace(" ", "").replace("\t", "").strip("\r\n") in {"<***>", "<***\r\n>", "<***\n>"}


def test_what_looks_like_a_part_of_a_secret_is_recorded() -> None:
    """Only the whole secret is hidden."""
    with serving(lambda _seen: (200, {}, b"s3cr3 3cr3t s3cr-3t")) as server:
        body = run(make_execution(server.url, {"CARILLON_SECRET_0": "s3cr3t"}, secretHeaders=SECRET))["body"]
    assert body == "s3cr3 3cr3t s3cr-3t"


def test_a_long_secret_is_looked_for_soon() -> None:
    """The longest header, of characters that all can be written otherwise, in the longest body that is kept."""
    secret = '"<&' * 2000
    with serving(lambda _seen: (200, {}, ('"<&' * 80 + "x").encode() * 500)) as server, deadline(10):
        body = run(make_execution(server.url, {"CARILLON_SECRET_0": secret}, secretHeaders=SECRET))["body"]
    assert body.startswith('"<&"<&')


@pytest.mark.parametrize("value", ["", "\n", " \t", "a\nb", "a\r\nX: y", "a\0b", "\u20ac"])
def test_a_secret_that_is_no_header_is_refused_without_its_value(value: str) -> None:
    """An invalid header value fails before the request, and the message names its source."""
    failed = failure_of(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_0": value}, secretHeaders=SECRET))
    assert failed.reason == "InvalidRequest"
    assert failed.message.startswith("the value of key token of Secret shop is empty, or has")
    assert not value or value not in failed.message


def test_a_secret_that_is_not_there_is_named() -> None:
    """The message names the Secret and its key."""
    failed = failure_of(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_1": "x"}, secretHeaders=SECRET))
    assert failed.reason == "SecretMissing"
    assert "key token of Secret shop" in failed.message


def test_a_secret_is_no_template_and_wins_over_a_plain_header() -> None:
    """A secret is sent as it is and replaces a plain header, in any capitalisation."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        spec: dict[str, Any] = {"secretHeaders": SECRET, "headers": {"x-token": "plain", "X-B": "{{ attempt }}"}}
        run(make_execution(server.url, {"CARILLON_SECRET_0": "{{ slot }}"}, **spec))
    assert (server.seen[0].headers["x-token"], server.seen[0].headers["x-b"]) == ("{{ slot }}", "3")


def test_templates_are_rendered_in_url_headers_and_body() -> None:
    """Templates can use the slot, the parameters and the execution's id."""
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
    """The rendered value is checked like a literal one."""
    with serving(lambda _seen: (200, {}, b"")) as server:
        assert failure_of(make_execution(server.url, headers={"X-A": text})).reason == "InvalidRequest"
    assert server.seen == []


RAW = b"raw key"
CODED = "whsec_" + base64.b64encode(b"coded key").decode()


@pytest.mark.parametrize("body", [None, "", '{"a": "\u00fc {{ attempt }}"}'])
def test_a_request_is_signed_as_standard_webhooks_say(body: str | None) -> None:
    """Each key signs the id, the time and the body as sent."""
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
    """The signature matches the test vector of the Standard Webhooks libraries."""
    spec = {"signing": [{"variable": "V", "source": "k"}]}
    (key,) = read_secrets(spec, {"V": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}).keys
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    assert signature == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("value", ["whsec_!!", "whsec_", "whsec_hunter2", ""])
def test_a_key_that_is_none_is_refused_without_its_value(value: str) -> None:
    """An invalid key fails before the request."""
    spec = {"signing": [{"variable": "CARILLON_SECRET_0", "source": "key s of Secret k"}]}
    failed = failure_of(make_execution("http://127.0.0.1:1/", {"CARILLON_SECRET_0": value}, **spec))
    assert failed.reason == "InvalidRequest"
    assert "key s of Secret k" in failed.message
    assert "hunter2" not in failed.message


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
    """An error has no user, password, query or header of the request."""
    failed = failure(url.replace("{host}", httpbin.removeprefix("http://")), headers=headers)
    assert "hunter2" not in f"{failed} {failed.message} {failed.reason} {failed.result}"
