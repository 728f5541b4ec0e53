"""``Idempotency-Key``: a repeated POST creates no second object and returns the same response."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from carillon_api.middleware import idempotency
from carillon_api.openapi_document.described import REPEATABLE
from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.errors import UnavailableError
from carillon_core.ports import KEY_ABANDONED, KEY_KEPT
from support.api import EVERY_MINUTE, NOW, TASKS, Facade, facade, fields_of, openapi_document

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
NIGHTLY: dict[str, Any] = {"name": "nightly", "spec": EVERY_MINUTE}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


def told(response: httpx.Response) -> tuple[Any, ...]:
    """Return the parts of a response that must be the same for each repetition."""
    kept = ("content-type", "location", "etag")
    return response.status_code, *(response.headers.get(name) for name in kept), response.content


async def failed_execution(rest: Facade) -> ExecutionRecord:
    """Create the task ``nightly`` and return a failed execution of it."""
    created = await rest.create()
    uid = created.json()["uid"]
    record = ExecutionRecord(
        id=execution_id(uid, NOW, Cause.SCHEDULE),
        task_uid=uid,
        namespace="team-a",
        task="nightly",
        task_type="sleep",
        slot=NOW,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.FAILED,
    )
    await rest.history.record([record])
    return record


TARGET: dict[str, Any] = {"name": "shop", "spec": {"url": "https://shop.example.com/"}}
RUN_ALL: dict[str, Any] = {"action": "run", "filter": {"nameContains": "night"}, "expectedCount": 1}
RETRY_ALL: dict[str, Any] = {"action": "retry", "filter": {"deadLetters": True}, "expectedCount": 1}
POSTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "createTask": ("/api/v1/tasks", {"name": "new", "spec": EVERY_MINUTE}),
    "createNamespacedTask": (TASKS, {"name": "new", "spec": EVERY_MINUTE}),
    "createTarget": ("/api/v1/targets", TARGET),
    "createNamespacedTarget": ("/api/v1/namespaces/team-a/targets", TARGET),
    "runTask": (f"{TASKS}/nightly/run", {}),
    "runOwnTask": ("/api/v1/run-task", {"task_name": "sum", "a": 1, "b": 2}),
    "retryExecution": ("/api/v1/executions/{id}/retry", None),
    "changeTasks": ("/api/v1/tasks/bulk", RUN_ALL),
    "changeNamespacedTasks": (f"{TASKS}/bulk", RUN_ALL),
    "changeExecutions": ("/api/v1/executions/bulk", RETRY_ALL),
    "changeNamespacedExecutions": ("/api/v1/namespaces/team-a/executions/bulk", RETRY_ALL),
}
"""A valid request for each creating operation, by its name."""


def creating_operations() -> dict[str, dict[str, Any]]:
    """Return the POST operations in the document that are not idempotent by themselves, by name."""
    posts = [item["post"] for item in openapi_document()["paths"].values() if "post" in item]
    return {post["operationId"]: post for post in posts if post["operationId"] not in REPEATABLE}


def test_every_post_that_creates_is_known_to_these_tests() -> None:
    """A new operation needs a request here, or an entry in ``REPEATABLE``."""
    assert creating_operations().keys() == POSTS.keys()


@pytest.mark.parametrize("name", POSTS)
def test_every_post_that_creates_documents_the_header(name: str) -> None:
    """It is documented once, with its responses."""
    post = creating_operations()[name]
    (header,) = [p for p in post["parameters"] if p["name"].lower() == "idempotency-key"]
    assert (header["in"], header["required"], header["schema"]["maxLength"]) == ("header", False, 255)
    assert "idempotency key is in progress" in post["responses"]["409"]["description"]
    assert "key used for another request" in post["responses"]["422"]["description"]
    (success,) = [r for status, r in post["responses"].items() if status.startswith("2")]
    assert "Idempotency-Replayed" in success["headers"]


@pytest.mark.parametrize("name", POSTS)
async def test_every_post_that_creates_honours_the_header(rest: Facade, name: str) -> None:
    """The second response is the first one, byte for byte, and says so; there is one object."""
    record = await failed_execution(rest)
    path, body = POSTS[name]
    path = path.replace("{id}", str(record.id))
    first = await rest.client.post(path, json=body, headers=KEY)
    before = {kind: len(await store.list(None)) for kind, store in rest.server.stores.items()}
    second = await rest.client.post(path, json=body, headers=KEY)
    assert first.is_success, first.text
    assert told(second) == told(first)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert {kind: len(await store.list(None)) for kind, store in rest.server.stores.items()} == before


async def test_an_answer_outlives_what_it_tells_of(rest: Facade) -> None:
    """The request is not executed again, even if the task has been deleted meanwhile."""
    first = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    await rest.client.delete(f"{TASKS}/nightly")
    assert told(await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)) == told(first)
    assert await rest.tasks.list(None) == []


async def test_a_refusal_is_an_answer_too(rest: Facade) -> None:
    """409 is stored: a repetition gets the same response."""
    await rest.create()
    first = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    await rest.client.delete(f"{TASKS}/nightly")
    second = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    assert (first.status_code, second.status_code) == (409, 409)
    assert second.headers["idempotency-replayed"] == "true"


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "another body": (TASKS, {**NIGHTLY, "labels": {"a": "b"}}),
    "the same body written otherwise": (TASKS, {"spec": EVERY_MINUTE, "name": "nightly"}),
    "another path": ("/api/v1/namespaces/team-b/tasks", NIGHTLY),
    "another path to the same end": ("/api/v1/tasks", NIGHTLY),
}


@pytest.mark.parametrize("case", OTHERS)
async def test_a_key_is_for_one_request(rest: Facade, case: str) -> None:
    """Another request with the key is rejected, and nothing is created."""
    path, body = OTHERS[case]
    await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    response = await rest.client.post(path, json=body, headers=KEY)
    assert response.status_code == 422
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:idempotency-key-reused"
    assert len(await rest.tasks.list(None)) == 1


async def test_a_query_is_part_of_the_request(rest: Facade) -> None:
    """``?namespace=`` selects the namespace."""
    run = {"task_name": "sum", "a": 1, "b": 2}
    await rest.client.post("/api/v1/run-task?namespace=team-a", json=run, headers=KEY)
    response = await rest.client.post("/api/v1/run-task?namespace=team-b", json=run, headers=KEY)
    assert response.status_code == 422


async def test_a_key_is_its_callers_own(rest: Facade) -> None:
    """Two callers may use the same key; neither gets the other's response."""
    bob = rest.let("bob", "t0ken-of-bob", Rule(["*"], ["*"]))
    await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    response = await rest.client.post(TASKS, json={**NIGHTLY, "name": "bobs"}, headers={**KEY, **bob})
    assert response.status_code == 201


async def test_fifty_at_once_make_one_task(rest: Facade) -> None:
    """The others get 409, or the response of the first one."""
    answers = await asyncio.gather(*(rest.client.post(TASKS, json=NIGHTLY, headers=KEY) for _ in range(50)))
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    assert len([a for a in answers if a.status_code == 201 and "idempotency-replayed" not in a.headers]) == 1
    assert len(await rest.tasks.list(None)) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["type"] == "urn:carillon:problem:request-under-way"
            assert answer.headers["retry-after"] == "1"


NOT_KEPT: dict[str, tuple[list[Rule], Exception | None, int]] = {
    "a permission that is missing": ([], None, 403),
    "an outage": ([Rule("*", "*")], UnavailableError("API server", "gone"), 503),
    "what nobody expected": ([Rule("*", "*")], RuntimeError("oh"), 500),
}


@pytest.mark.parametrize("case", NOT_KEPT)
async def test_what_says_nothing_of_the_request_is_not_kept(
    rest: Facade, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cause is fixed, the same request succeeds."""
    rules, error, want_status = NOT_KEPT[case]
    bob = rest.let("bob", "t0ken-of-bob", *rules)

    async def failing(*_: object) -> None:
        assert error is not None
        raise error

    with monkeypatch.context() as patched:
        if error is not None:
            patched.setattr(rest.tasks, "create", failing)
        assert (await rest.client.post(TASKS, json=NIGHTLY, headers={**KEY, **bob})).status_code == want_status
    rest.let("bob", "t0ken-of-bob", Rule("*", "*"))
    second = await rest.client.post(TASKS, json=NIGHTLY, headers={**KEY, **bob})
    assert second.status_code == 201, second.text
    assert "idempotency-replayed" not in second.headers


async def test_what_a_dead_process_has_left_is_taken_over(rest: Facade) -> None:
    """After a minute, the request is executed."""
    response = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    ((caller, key), row) = next(iter(rest.idempotency.rows.items()))
    await rest.client.delete(f"{TASKS}/nightly")
    rest.idempotency.rows[caller, key] = type(row)(row.fingerprint, row.reserved_at)
    assert (await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)).status_code == 409
    rest.clock.now = NOW + KEY_ABANDONED
    response = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    assert response.status_code == 201
    assert "idempotency-replayed" not in response.headers


async def test_what_takes_too_long_is_given_up_before_it_is_taken_over(
    rest: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response is 503; the key stays reserved until the same request may take it over."""

    async def hanging(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "WORK_SECONDS", 0.05)
        patched.setattr(rest.tasks, "create", hanging)
        given_up = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    assert given_up.status_code == 503
    assert fields_of(given_up) == []
    assert (await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)).status_code == 409
    rest.clock.now = NOW + KEY_ABANDONED
    assert (await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)).status_code == 201


def test_work_ends_before_its_key_is_taken_over() -> None:
    """Otherwise, two requests could be executed concurrently."""
    assert timedelta(seconds=idempotency.WORK_SECONDS) < KEY_ABANDONED


async def test_a_key_is_forgotten_after_a_day(rest: Facade) -> None:
    """After a day, the key is new."""
    await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    rest.clock.now = NOW + KEY_KEPT
    response = await rest.client.post(TASKS, json={**NIGHTLY, "name": "other"}, headers=KEY)
    assert response.status_code == 201


async def test_without_its_store_the_promise_is_not_made(rest: Facade) -> None:
    """With the header, the response is 503 and nothing is created; without it, the POST succeeds."""
    rest.idempotency.outage = "connection refused"
    refused = await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert fields_of(refused) == []
    assert await rest.tasks.list(None) == []
    assert (await rest.client.post(TASKS, json=NIGHTLY)).status_code == 201


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    rest: Facade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The task has been created, so its caller gets the response."""
    create = rest.tasks.create

    async def creating(namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        rest.idempotency.outage = "connection refused"
        return await create(namespace, body)

    monkeypatch.setattr(rest.tasks, "create", creating)
    assert (await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)).status_code == 201
    assert "response not stored for its idempotency key" in caplog.messages


BAD_KEYS: dict[str, tuple[list[str], int]] = {
    "an empty one": ([""], 400),
    "an empty string in quotes": (['""'], 400),
    "spaces": (["   "], 400),
    "spaces in quotes": (['"  "'], 400),
    "one with a blank": (["a b"], 422),
    "one that is too long": (["a" * 256], 422),
    "one that is no ASCII": (["schlüssel"], 422),
    "two of them": (["a", "b"], 422),
}


@pytest.mark.parametrize("case", BAD_KEYS)
async def test_a_bad_key_is_named(rest: Facade, case: str) -> None:
    """An empty key is 400, other invalid keys are 422, with the header as the field; nothing is created."""
    given, want_status = BAD_KEYS[case]
    headers = [(b"idempotency-key", key.encode("latin-1")) for key in given]
    response = await rest.client.post(TASKS, json=NIGHTLY, headers=headers)
    assert response.status_code == want_status
    assert fields_of(response) == ["Idempotency-Key"]
    assert await rest.tasks.list(None) == []


async def test_quotes_are_no_part_of_a_key(rest: Facade) -> None:
    """The draft requires a structured string, which most clients do not send."""
    first = await rest.client.post(TASKS, json=NIGHTLY, headers={"Idempotency-Key": '"abc"'})
    second = await rest.client.post(TASKS, json=NIGHTLY, headers={"Idempotency-Key": "abc"})
    assert (first.status_code, second.headers.get("idempotency-replayed")) == (201, "true")


async def test_a_body_that_is_too_large_is_refused_as_ever(rest: Facade) -> None:
    """It does not reserve the key."""
    headers = {**KEY, "Content-Type": "application/json"}
    response = await rest.client.post(TASKS, content=b"[" + b" " * 1024 * 1024 + b"]", headers=headers)
    assert response.status_code == 413
    assert (await rest.client.post(TASKS, json=NIGHTLY, headers=KEY)).status_code == 201


async def test_what_is_safe_to_repeat_needs_no_key(rest: Facade) -> None:
    """Suspending is idempotent: the header is ignored."""
    await rest.create()
    for _ in range(2):
        response = await rest.client.post(f"{TASKS}/nightly/pause", headers=KEY)
        assert response.status_code == 200
        assert "idempotency-replayed" not in response.headers


def test_what_is_safe_to_repeat_exists() -> None:
    """Every name in ``REPEATABLE`` belongs to an operation."""
    posts = {item["post"]["operationId"] for item in openapi_document()["paths"].values() if "post" in item}
    assert {"pauseTask", "resumeTask", "cancelExecution"} <= REPEATABLE & posts
