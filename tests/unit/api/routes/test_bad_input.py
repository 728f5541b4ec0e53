"""Invalid input: each case is answered by a problem that names the field, never by a 500."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from carillon_api.schemas.checks import selector_problems
from support.api import AS_CALLER, EVERY_MINUTE, TASKS, Facade, facade, fields_of

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one task."""
    async with facade() as made:
        await made.create("nightly")
        yield made


def spec(**fields: Any) -> dict[str, Any]:
    """Return a body whose spec has these additional fields; None removes a field."""
    merged = {**EVERY_MINUTE, **fields}
    return {"name": "good", "spec": {k: v for k, v in merged.items() if v is not None}}


def summands(text: str) -> bytes:
    """Return a body with this JSON text as a summand."""
    return b'{"name": "good", "spec": {"intervalSeconds": 5, "task": {"sum": {"a": 1, "b": ' + text.encode() + b"}}}}"


@dataclass(frozen=True)
class Bad:
    """A body, and the expected response."""

    body: Any
    want_field: str | None = None
    want_status: int = 422


LONG = "a" * 53
CREATE: dict[str, Bad] = {
    "no body": Bad(b"", want_status=400),
    "no JSON": Bad(b"{", want_status=400),
    "trailing text": Bad(b"{} {}", want_status=400),
    "no UTF-8": Bad(b'{"name": "\xff"}', want_status=400),
    "a byte order mark": Bad(b"\xef\xbb\xbf{}", want_status=400),
    "a key twice": Bad(b'{"name": "a", "name": "b"}', want_status=400),
    "nested without end": Bad(b"[" * 500_000, want_status=400),
    "nested deeper than any task": Bad(b'{"spec":' * 40 + b"1" + b"}" * 40, want_status=400),
    "larger than a mebibyte": Bad(b'"' + b"a" * (1024 * 1024) + b'"', want_status=413),
    "an array": Bad([], "(body)"),
    "a string": Bad("task", "(body)"),
    "null": Bad(b"null", "(body)"),
    "an empty object": Bad({}, "spec"),
    "a full object of Kubernetes": Bad({"kind": "ScheduledTask", "metadata": {"name": "a"}, "spec": {}}, "metadata"),
    "no name": Bad({"spec": EVERY_MINUTE}, "name"),
    "a name that is a number": Bad({"name": 5, "spec": EVERY_MINUTE}, "name"),
    "an empty name": Bad({"name": "", "spec": EVERY_MINUTE}, "name"),
    "a name in capitals": Bad({"name": "Nightly", "spec": EVERY_MINUTE}, "name"),
    "a name with an empty part": Bad({"name": "a..b", "spec": EVERY_MINUTE}, "name"),
    "a name that ends in a hyphen": Bad({"name": "a-", "spec": EVERY_MINUTE}, "name"),
    "a name with a line's end": Bad({"name": "a\n", "spec": EVERY_MINUTE}, "name"),
    "a name that leaves no room for a Job's": Bad({"name": LONG, "spec": EVERY_MINUTE}, "name"),
    "a field in snake case": Bad(
        {"name": "good", "spec": {"interval_seconds": 5, "task": {"counter": {}}}}, "spec.interval_seconds"
    ),
    "a misspelt field": Bad(spec(shedule="* * * * *"), "spec.shedule"),
    "no schedule at all": Bad(spec(schedule=None), "spec"),
    "two schedules": Bad(spec(intervalSeconds=5), "spec"),
    "a zone without a cron": Bad(spec(schedule=None, intervalSeconds=5, timeZone="UTC"), "spec.timeZone"),
    "a cron of four fields": Bad(spec(schedule="* * * *"), "spec.schedule"),
    "a cron out of range": Bad(spec(schedule="60 * * * *"), "spec.schedule"),
    "a cron that never fires": Bad(spec(schedule="0 0 31 2 *"), "spec.schedule"),
    "a cron of surprising letters": Bad(spec(schedule="é * * * *"), "spec.schedule"),
    "an unknown macro": Bad(spec(schedule="@fortnightly"), "spec.schedule"),
    "an empty cron": Bad(spec(schedule=""), "spec.schedule"),
    "an endless cron": Bad(spec(schedule="1," * 5000 + "1 * * * *"), "spec.schedule"),
    "an unknown zone": Bad(spec(timeZone="Mars/Olympus"), "spec.timeZone"),
    "a zone that is a path": Bad(spec(timeZone="../../etc/passwd"), "spec.timeZone"),
    "an interval of nothing": Bad(spec(schedule=None, intervalSeconds=0), "spec.intervalSeconds"),
    "an interval beyond a year": Bad(spec(schedule=None, intervalSeconds=10**9), "spec.intervalSeconds"),
    "an interval beyond 64 bits": Bad(spec(schedule=None, intervalSeconds=10**30), "spec.intervalSeconds"),
    "an interval as text": Bad(spec(schedule=None, intervalSeconds="5"), "spec.intervalSeconds"),
    "an interval that is true": Bad(spec(schedule=None, intervalSeconds=True), "spec.intervalSeconds"),
    "a run in the past": Bad(spec(schedule=None, runAt="2026-03-01T11:59:59Z"), "spec.runAt"),
    "a run without a zone": Bad(spec(schedule=None, runAt="2026-04-01T00:00:00"), "spec.runAt"),
    "a run at a number": Bad(spec(schedule=None, runAt=1_800_000_000), "spec.runAt"),
    "a run out of the calendar": Bad(spec(schedule=None, runAt="9999-12-31T23:59:59-14:00"), "spec.runAt"),
    "an unknown policy": Bad(spec(concurrencyPolicy="Sometimes"), "spec.concurrencyPolicy"),
    "no task type": Bad(spec(task={}), "spec.task"),
    "two task types": Bad(spec(task={"counter": {}, "sum": {"a": 1, "b": 1}}), "spec.task"),
    "an unknown task type": Bad(spec(task={"email": {}}), "spec.task.email"),
    "a URL that is none": Bad(spec(task={"http": {"url": "file:///etc/passwd"}}), "spec.task.http.url"),
    "a method that is none": Bad(spec(task={"http": {"url": "http://a/", "method": "BREW"}}), "spec.task.http.method"),
    "a header that would end its line": Bad(
        spec(task={"http": {"url": "http://a/", "headers": {"X": "a\r\nY: b"}}}), "spec.task.http.headers.X"
    ),
    "not a number": Bad(summands("NaN"), "spec.task.sum.b"),
    "an endless number": Bad(summands("-Infinity"), "spec.task.sum.b"),
    "a number that overflows": Bad(summands("1e999"), "spec.task.sum.b"),
    "an integer beyond 64 bits": Bad(summands("1" + "0" * 25), "spec.task.sum.b"),
    "an integer of ten thousand digits": Bad(summands("9" * 10_000), "spec.task.sum.b"),
    "a NUL": Bad(spec(task={"http": {"url": "http://a/", "body": "a\0b"}}), "spec.task.http.body"),
    "a NUL in a key": Bad(spec(task={"http": {"url": "http://a/", "headers": {"X\0": "b"}}}), "spec.task.http.headers"),
    "half of a surrogate pair": Bad(spec(task={"http": {"url": "http://a/", "body": "\ud800"}}), "spec.task.http.body"),
    "half of a surrogate pair in a key": Bad({"\udfff": 1}, "(body)"),
    "a label with a blank": Bad({"name": "good", "labels": {"a b": "c"}, "spec": EVERY_MINUTE}, "labels.a b"),
    "a label with a bad prefix": Bad({"name": "good", "labels": {"A_/b": "c"}, "spec": EVERY_MINUTE}, "labels.A_/b"),
    "a label that is too long": Bad({"name": "good", "labels": {"a": "b" * 64}, "spec": EVERY_MINUTE}, "labels.a"),
    "a label that is a number": Bad({"name": "good", "labels": {"a": 5}, "spec": EVERY_MINUTE}, "labels.a"),
    "labels that are a list": Bad({"name": "good", "labels": ["a"], "spec": EVERY_MINUTE}, "labels"),
}


@pytest.mark.parametrize("case", CREATE)
async def test_a_bad_body_is_refused_with_its_field(rest: Facade, case: str) -> None:
    """Nothing is created, and the response names the invalid fields."""
    bad = CREATE[case]
    content = bad.body if isinstance(bad.body, bytes) else json.dumps(bad.body).encode()
    response = await rest.client.post(TASKS, content=content, headers=JSON)
    assert response.status_code == bad.want_status, response.text
    fields = fields_of(response)
    if bad.want_field is None:
        assert fields == []
    else:
        assert bad.want_field in fields
    assert [t["metadata"]["name"] for t in await rest.tasks.list(None)] == ["nightly"]


async def test_every_problem_of_a_body_is_named_at_once(rest: Facade) -> None:
    """A caller can fix them all at once."""
    body = {"name": "Bad", "labels": {"a": "b c"}, "spec": spec(schedule="x", timeZone="y")["spec"]}
    response = await rest.client.post(TASKS, json=body)
    assert fields_of(response) == ["name", "labels.a", "spec.timeZone", "spec.schedule"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/yaml"])
async def test_a_body_that_is_not_declared_as_json_is_refused(rest: Facade, content_type: str) -> None:
    """A form on another site cannot reach the facade through a browser."""
    body = json.dumps({"name": "good", "spec": EVERY_MINUTE}).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    response = await rest.client.post(TASKS, content=body, headers=headers)
    assert response.status_code == 415
    assert response.headers["accept"] == "application/json"
    assert fields_of(response) == []


async def test_a_merge_patch_is_no_body_of_a_post(rest: Facade) -> None:
    """Only PATCH accepts it, and its 415 names the accepted types (RFC 5789)."""
    post = await rest.client.post(TASKS, content=b"{}", headers={"Content-Type": "application/merge-patch+json"})
    assert post.status_code == 415
    patch = await rest.client.patch(
        f"{TASKS}/nightly", content=b"[]", headers={"Content-Type": "application/json-patch+json"}
    )
    assert patch.status_code == 415
    assert patch.headers["accept-patch"] == "application/json, application/merge-patch+json"


async def test_a_body_without_a_length_is_cut_off_at_the_limit(rest: Facade) -> None:
    """A chunked body is counted as it arrives, and not read beyond the limit."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 65_536
            yield b" " * 65_536

    response = await rest.client.post(TASKS, content=endless(), headers=JSON)
    assert response.status_code == 413
    assert fields_of(response) == []
    assert read <= 2 * 1024 * 1024


EXECUTIONS = "/api/v1/executions"
PATHS: dict[str, tuple[str, str, int, str | None]] = {
    "an unknown path": ("GET", "/api/v1/nothing", 404, None),
    "a slash too many": ("GET", "/api/v1/tasks/", 404, None),
    "the root": ("GET", "/", 404, None),
    "an asset that is not there": ("GET", "/docs-assets/none.js", 404, None),
    "an asset out of its folder": ("GET", "/docs-assets/%2e%2e/core.py", 404, None),
    "a method that does not exist": ("DELETE", "/api/v1/tasks", 405, None),
    "a namespace in capitals": ("GET", "/api/v1/namespaces/TEAM/tasks", 422, "namespace"),
    "a namespace with a NUL": ("GET", "/api/v1/namespaces/a%00/tasks", 422, "namespace"),
    "a task's name with a NUL": ("GET", f"{TASKS}/a%00b", 422, "name"),
    "a task's name with a blank": ("DELETE", f"{TASKS}/a%20b", 422, "name"),
    "a task's name that is no UTF-8": ("GET", f"{TASKS}/a%ff", 422, "name"),
    "a task's name with half a surrogate pair": ("GET", f"{TASKS}/a%ed%a0%80", 422, "name"),
    "a task's name that is too long": ("GET", f"{TASKS}/{'a' * 300}", 422, "name"),
    "a namespace as a parameter with a NUL": ("GET", f"{EXECUTIONS}?namespace=a%00", 422, "namespace"),
    "a task as a parameter with a NUL": ("GET", f"{EXECUTIONS}?task=a%00", 422, "task"),
    "a parameter that is no UTF-8": ("GET", f"{EXECUTIONS}?task=%ff%ed%a0%80", 422, "task"),
    "a parameter that does not exist": ("GET", f"{EXECUTIONS}?stats=failed", 422, "stats"),
    "an unknown status": ("GET", f"{EXECUTIONS}?status=sleepy", 422, "status"),
    "a limit of nothing": ("GET", f"{EXECUTIONS}?limit=0", 422, "limit"),
    "a limit beyond 500": ("GET", f"{EXECUTIONS}?limit=501", 422, "limit"),
    "a limit that is text": ("GET", f"{EXECUTIONS}?limit=ten", 422, "limit"),
    "a limit of five thousand digits": ("GET", f"{EXECUTIONS}?limit={'9' * 5_000}", 422, "limit"),
    "a cursor of somebody else": ("GET", f"{EXECUTIONS}?cursor=abc", 422, "cursor"),
    "a cursor with a NUL": ("GET", f"{EXECUTIONS}?cursor=%00", 422, "cursor"),
    "an empty cursor": ("GET", f"{EXECUTIONS}?cursor=", 422, "cursor"),
    "an execution's id that is none": ("GET", f"{EXECUTIONS}/17", 422, "id"),
    "a count of nothing": ("GET", "/api/v1/upcoming?count=0", 422, "count"),
    "a count beyond 100": ("GET", f"{TASKS}/nightly/upcoming?count=101", 422, "count"),
    "a selector that is none": ("GET", "/api/v1/tasks?labelSelector=a%20b", 422, "labelSelector"),
    "a selector with a NUL": ("GET", "/api/v1/tasks?labelSelector=a%00", 422, "labelSelector"),
    "a selector that never ends": ("GET", "/api/v1/tasks?labelSelector=a%20in%20(b", 422, "labelSelector"),
}


@pytest.mark.parametrize("case", PATHS)
async def test_a_bad_path_or_parameter_is_a_problem(rest: Facade, case: str) -> None:
    """404 and 405 are problems, too; a parameter has the name that the caller sent."""
    method, path, want_status, want_field = PATHS[case]
    response = await rest.client.request(method, path)
    assert response.status_code == want_status, response.text
    assert fields_of(response) == ([want_field] if want_field else [])


@pytest.mark.parametrize(
    ("path", "want"),
    {
        f"{EXECUTIONS}?stats=failed": "is not a parameter of this operation: did you mean status?",
        "/api/v1/tasks?labelselector=a": "is not a parameter of this operation: did you mean labelSelector?",
        "/api/v1/tasks?colour=a": "is not a parameter of this operation: remove it or correct its spelling",
        f"{EXECUTIONS}?limit=ten": "must be a whole number: write it in digits",
        f"{EXECUTIONS}?limit=501": "must be at most 500",
    }.items(),
)
async def test_a_bad_parameter_is_told_in_plain_words(rest: Facade, path: str, want: str) -> None:
    """A misspelt one names the parameter that was meant."""
    (error,) = (await rest.client.get(path)).json()["errors"]
    assert error["message"] == want


async def test_a_method_that_does_not_exist_names_those_that_do(rest: Facade) -> None:
    """RFC 9110, 15.5.6: 405 carries Allow."""
    assert (await rest.client.put(TASKS, json={})).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await rest.client.post(f"{TASKS}/a", json={})).headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    assert (await rest.client.post("/docs")).headers["allow"] == "GET"


async def test_a_path_of_surrogates_is_no_error_of_ours(rest: Facade) -> None:
    """A server may pass undecodable bytes in paths as surrogates."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"{TASKS}/\udcff",
        "raw_path": b"/api/v1/namespaces/team-a/tasks/%ff",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"x-request-id", b"\xff\n"),
            (b"host", b"facade"),
            (b"authorization", AS_CALLER["Authorization"].encode()),
        ],
        "server": ("facade", 80),
        "client": ("127.0.0.1", 5),
    }
    await rest.app(scope, receive, send)
    assert sent[0]["status"] == 422
    assert json.loads(sent[1]["body"])["errors"][0]["field"] == "name"


SELECTORS: dict[str, tuple[str, bool]] = {
    "nothing": (" ", True),
    "each form, with spaces wherever they may be": (
        " app = web , tier in ( a , b,c ) ,! x , y != , z==a , k ",
        True,
    ),
    "a set that is empty, or has empty members": ("a in (),b notin ( , ),c in (,d)", True),
    "a prefix": ("example.com/app=web,!example.com/x", True),
    "a set that never ends, of commas and spaces": ("a in (" + ",   " * 1000, False),
    "a set that ends in something else": ("a in (" + " , b " * 800 + "~)", False),
    "spaces, and something else": ("a" + " " * 4000 + "~", False),
    "a value, spaces, and something else": ("a =" + " " * 4000 + "~", False),
    "two words": ("a b", False),
    "a key that no label has": ("-a", False),
}


@pytest.mark.parametrize("case", SELECTORS)
def test_which_selectors_are_read(case: str) -> None:
    """In linear time: an earlier expression did not finish on a long series of commas."""
    text, good = SELECTORS[case]
    assert [p.path for p in selector_problems(text)] == ([] if good else ["labelSelector"])
