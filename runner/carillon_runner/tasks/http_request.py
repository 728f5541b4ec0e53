"""The task type ``http``: one request and its redirects, with the standard library's client."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

from carillon_core import __version__
from carillon_core.domain.egress.rules import CLOSED
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.retry import STATUSES_AGAIN, retry_after_seconds
from carillon_runner.tasks.http_exchange import Answer, Message, Target, exchange, parse_target
from carillon_runner.tasks.http_secrets import SIGNATURE_HEADERS, Secrets, read_secrets
from carillon_runner.templates import rendered

BODY_LIMIT = 102_400
"""How many bytes of a response's body are kept."""
_SUCCESS = range(200, 300)
_REDIRECTION = range(300, 400)
_CLIENT_ERROR = range(400, 500)
_SERVER_ERROR = range(500, 600)
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303
_FOUND = frozenset({301, 302})
_OF_ORIGIN = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that are sent only to the original origin, besides those from Secrets."""
_OF_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location", "content-length"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request to one hop."""

    url: str = field(repr=False)
    target: Target
    method: str
    headers: Mapping[str, str] = field(repr=False)
    """Headers for any origin."""
    secret_headers: Mapping[str, str] = field(repr=False)
    """Headers for the first origin only."""
    body: bytes | None = field(repr=False)


def run(execution: Execution) -> Mapping[str, Any]:
    """Send the request and return ``{"statusCode", "responseTimeMs", "body", "bodyTruncated"}``.

    ``responseTimeMs`` is measured from sending the request to the end of its
    body, or to where it is cut: after 100 KiB. At most ``maxRedirects``
    redirects are followed, and ``redirects`` is their number; without it a 3xx is
    an unexpected status unless ``expectedStatuses`` lists it. Values from Secrets
    are ``***`` in the result. Proxies in the environment are not used. A user and
    a password in the URL become Basic ``Authorization``, unless the headers have
    one.

    Raises:
        TaskFailedError: The status is unexpected (``HTTP4xx``, ``HTTP5xx``, ``HTTPStatus``), with the result; there
            was no response (``Timeout``, ``DNS``, ``Connection``, ``TLS``, ``Protocol``); a redirect is refused
            (``TooManyRedirects``, ``BlockedRedirect``); the address of the URL or of a redirect is closed
            (``BlockedAddress``); the request is invalid (``InvalidRequest``) or cannot be built (``TemplateFailed``,
            ``SecretMissing``). No message repeats the URL or a header.

    """
    secrets = read_secrets(execution.spec, execution.environment.secrets)
    request = _request(execution, secrets)
    sent = time.perf_counter()
    answer, redirects = _followed(execution, request, secrets)
    result = _result(answer, secrets, (time.perf_counter() - sent) * 1000)
    if redirects:
        result["redirects"] = redirects
    spec = execution.spec
    _check_status(answer, spec.get("expectedStatuses") or (), result, followed=bool(spec.get("maxRedirects")))
    return result


def _followed(execution: Execution, request: Request, secrets: Secrets) -> tuple[Answer, int]:
    """Return the last answer and the number of redirects that led to it."""
    expected = execution.spec.get("expectedStatuses") or ()
    most = execution.spec.get("maxRedirects") or 0
    seen = {(request.method, request.url)}
    while True:
        answer = exchange(
            request.target,
            Message(request.method, {**request.headers, **request.secret_headers}, request.body),
            deadline=execution.deadline,
            # a secret at the end of the kept part must be read whole to be masked
            limit=BODY_LIMIT + 1 + 4 * secrets.longest,
            allow=execution.environment.http_allow or CLOSED,
        )
        if not most or answer.status in expected or answer.status not in _FOLLOWED or "Location" not in answer.headers:
            return answer, len(seen) - 1
        request = _redirected(request, answer)
        if (request.method, request.url) in seen:
            raise TaskFailedError("TooManyRedirects", "the redirects form a loop")
        if len(seen) > most:
            raise TaskFailedError("TooManyRedirects", f"there were more than {most} redirects")
        seen.add((request.method, request.url))


def _request(execution: Execution, secrets: Secrets) -> Request:
    """Return the request that the task describes, its templates rendered."""
    spec = execution.spec
    given = {f"header {name}": value for name, value in (spec.get("headers") or {}).items()}
    body = spec.get("body")
    texts = rendered({"url": spec["url"], **given, **({} if body is None else {"body": body})}, execution)
    # templates often leave a line break around a URL
    url = texts["url"].strip()
    target = parse_target(url)
    try:
        raw = None if body is None else texts["body"].encode("utf-8")
    except UnicodeEncodeError:
        raise TaskFailedError("InvalidRequest", "the body has a lone surrogate, which UTF-8 cannot encode") from None
    execution_id = execution.environment.execution_id
    own = {
        **({} if target.authorization is None else {"Authorization": target.authorization}),
        **{name: texts[f"header {name}"] for name in spec.get("headers") or {}},
    }
    trusted = {**secrets.headers, **secrets.signature_headers(execution_id, raw or b"")}
    plain = _merged(
        {"User-Agent": f"carillon/{__version__}", "Idempotency-Key": str(execution_id), "Connection": "close"}, own
    )
    named = {name.lower() for name in trusted}
    return Request(
        url=url,
        target=target,
        method=spec.get("method") or "GET",
        headers={n: v for n, v in plain.items() if n.lower() not in named | _OF_ORIGIN},
        secret_headers={n: v for n, v in plain.items() if n.lower() in _OF_ORIGIN - named} | trusted,
        body=raw,
    )


def _merged(defaults: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; of headers with the same name, ignoring case, the last one wins."""
    merged: dict[str, tuple[str, str]] = {}
    for name, value in (*defaults.items(), *own.items()):
        merged[name.lower()] = (name, value)
    return dict(merged.values())


def _redirected(request: Request, answer: Answer) -> Request:
    """Return the request that a redirect asks for (RFC 9110, 15.4; the methods as browsers have them).

    Raises:
        TaskFailedError: It leads from https to http, or to something that is not a URL (``BlockedRedirect``).

    """
    location = answer.headers["Location"].encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        url = urljoin(request.url, location.strip()).partition("#")[0]
        target = parse_target(url)
    except (ValueError, TaskFailedError):
        raise TaskFailedError(
            "BlockedRedirect", "a redirect leads to something that is not an http or https URL"
        ) from None
    if request.target.https and not target.https:
        raise TaskFailedError("BlockedRedirect", f"a redirect leads from https to http, on {target.host}")
    changes_method = (answer.status == _SEE_OTHER and request.method != "HEAD") or (
        answer.status in _FOUND and request.method == "POST"
    )
    if changes_method:
        # headers about the body, such as signatures, are dropped with the body
        request = replace(
            request,
            method="GET",
            body=None,
            headers={n: v for n, v in request.headers.items() if n.lower() not in _OF_BODY},
            secret_headers={n: v for n, v in request.secret_headers.items() if n not in SIGNATURE_HEADERS},
        )
    # permanently: a redirect back from another origin is not trusted
    same = target.origin == request.target.origin
    return replace(request, url=url, target=target, secret_headers=request.secret_headers if same else {})


def _result(answer: Answer, secrets: Secrets, milliseconds: float) -> dict[str, Any]:
    is_cut = len(answer.raw) > BODY_LIMIT
    # the text of the kept bytes; the bytes after them were read only to mask secrets
    kept = len(replace(answer, raw=answer.raw[:BODY_LIMIT]).text)
    return {
        "statusCode": answer.status,
        "responseTimeMs": round(milliseconds, 3),
        "body": secrets.hidden(answer.text, kept),
        "bodyTruncated": is_cut,
    }


def _check_status(answer: Answer, expected: Sequence[int], result: Mapping[str, Any], *, followed: bool) -> None:
    status = answer.status
    if status in (expected or _SUCCESS):
        return
    reason = "HTTP4xx" if status in _CLIENT_ERROR else "HTTP5xx" if status in _SERVER_ERROR else "HTTPStatus"
    wanted = ", ".join(str(code) for code in expected) or "2xx"
    hint = "; redirects are not followed" if status in _REDIRECTION and not followed else ""
    raise TaskFailedError(
        reason,
        f"the server answered {status}, expected {wanted}{hint}",
        result,
        again=True if status in STATUSES_AGAIN else None,
        retry_after=retry_after_seconds(answer.headers, datetime.now(UTC)),
    )
