"""Executions over REST: who may see which, by which filters, and how one is repeated, ended and listened to."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from carillon_api.views.runs import run_execution_id
from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, ExecutionRecord, execution_id, request_job_name
from carillon_core.errors import RefusedError
from carillon_core.resources.names import ANNOTATION_EXECUTION_ID, LABEL_TASK_UID
from support.api import NOW, Facade, facade, fields_of

EXECUTIONS = "/api/v1/executions"
FAILED, RUNNING, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED
REASON = "http_5xx"
ADD: dict[str, Any] = {"schedule": "* * * * *", "task": {"sum": {"a": 1, "b": 2}}}
NAMESPACED = [Rule(["get", "list"], ["executions"], "team-a")]


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


def row(minute: int = 0, **fields: Any) -> ExecutionRecord:
    """Return an execution of ``nightly`` that failed."""
    slot = NOW + timedelta(minutes=minute)
    uid = fields.pop("task_uid", str(UUID(int=7)))
    given: dict[str, Any] = {
        "id": execution_id(uid, slot, Cause.SCHEDULE),
        "task_uid": uid,
        "namespace": "team-a",
        "task": "nightly",
        "task_type": "sum",
        "slot": slot,
        "cause": Cause.SCHEDULE,
        "status": FAILED,
        "started_at": slot,
        "finished_at": slot + timedelta(seconds=2),
        "job_name": f"nightly-{minute}",
    }
    if fields.get("status") is RUNNING:
        given["finished_at"] = None
    return ExecutionRecord(**{**given, **fields})


async def of_a_task(rest: Facade, **fields: Any) -> ExecutionRecord:
    """Return a recorded execution of a task that is there."""
    uid = (await rest.create(spec=ADD)).json()["uid"]
    record = row(task_uid=uid, **fields)
    await rest.history.record([record])
    return record


async def minutes(rest: Facade, path: str, **headers: str) -> list[int]:
    """Return the slots' minutes of a list."""
    response = await rest.client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return [datetime.fromisoformat(item["slot"]).minute for item in response.json()["items"]]


OLD = UUID(int=99)
ROWS: Mapping[int, Mapping[str, Any]] = {
    0: {"reason": REASON},
    1: {"status": SUCCEEDED, "cause": Cause.MANUAL},
    2: {"namespace": "team-b", "reason": REASON},
    3: {"status": ExecutionStatus.TIMED_OUT, "task": "hourly"},
    4: {"status": ExecutionStatus.SKIPPED, "reason": "StillActive"},
    5: {"status": SUCCEEDED, "retry_of": OLD, "cause": Cause.MANUAL},
}
FILTERS: dict[str, tuple[str, list[int]]] = {
    "all of them": (EXECUTIONS, [5, 4, 3, 2, 1, 0]),
    "of a namespace, by the query": (f"{EXECUTIONS}?namespace=team-b", [2]),
    "of a namespace, by the path": ("/api/v1/namespaces/team-b/executions", [2]),
    "of a namespace and a name": ("/api/v1/namespaces/team-a/executions?task=hourly", [3]),
    "of a task": ("/api/v1/namespaces/team-a/tasks/nightly/executions", [5, 4, 1, 0]),
    "of a cause": (f"{EXECUTIONS}?cause=manual", [5, 1]),
    "of a class of failure": (f"{EXECUTIONS}?reason=http_5xx", [2, 0]),
    "of a gate": (f"{EXECUTIONS}?reason=StillActive", [4]),
    "from a time on": (f"{EXECUTIONS}?since=2026-03-01T12:04:00Z", [5, 4]),
    "before a time": (f"{EXECUTIONS}?until=2026-03-01T12:02:00Z", [1, 0]),
    "of a window in another zone": (
        f"{EXECUTIONS}?since=2026-03-01T13:02:00%2B01:00&until=2026-03-01T13:04:00%2B01:00",
        [3, 2],
    ),
    "what repeats another": (f"{EXECUTIONS}?retryOf={OLD}", [5]),
    "dead letters": (f"{EXECUTIONS}?deadLetters=true", [3, 2, 0]),
    "dead letters of a namespace and a class": (f"{EXECUTIONS}?deadLetters=true&namespace=team-a&reason={REASON}", [0]),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_executions_are_listed_by_filters(rest: Facade, case: str) -> None:
    """Newest slot first; filters may be combined."""
    path, want = FILTERS[case]
    await rest.history.record([row(minute, **fields) for minute, fields in ROWS.items()])
    assert await minutes(rest, path) == want


BAD: dict[str, tuple[str, str]] = {
    "a time without a zone": ("since=2026-03-01T12:00:00", "since"),
    "no time": ("until=tomorrow", "until"),
    "a year that is out of reach": ("since=0001-01-01T00:00:00Z", "since"),
    "a window without room": ("since=2026-03-01T12:00:00Z&until=2026-03-01T12:00:00Z", "query"),
    "no execution's id": ("retryOf=1", "retryOf"),
    "an unknown cause": ("cause=fate", "cause"),
    "no yes or no": ("deadLetters=maybe", "deadLetters"),
    "a page of none": ("limit=0", "limit"),
    "a page that is too long": ("limit=501", "limit"),
    "a parameter that does not exist": ("order=asc", "order"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_filter_is_named(rest: Facade, case: str) -> None:
    """422, with the parameter."""
    query, want = BAD[case]
    response = await rest.client.get(f"{EXECUTIONS}?{query}")
    assert response.status_code == 422
    assert fields_of(response) == [want]


async def test_pages_join_whatever_the_limit(rest: Facade) -> None:
    """A cursor goes on with another limit too."""
    await rest.history.record([row(minute) for minute in range(5)])
    first = (await rest.client.get(f"{EXECUTIONS}?limit=2")).json()
    assert await minutes(rest, f"{EXECUTIONS}?limit=500&cursor={first['nextCursor']}") == [2, 1, 0]


OTHER_LISTS: dict[str, str] = {
    "another status": f"{EXECUTIONS}?status=failed",
    "another namespace": f"{EXECUTIONS}?namespace=team-a",
    "the namespace in the path": "/api/v1/namespaces/team-a/executions",
    "a task": "/api/v1/namespaces/team-a/tasks/nightly/executions",
    "dead letters": f"{EXECUTIONS}?deadLetters=true",
}


@pytest.mark.parametrize("case", OTHER_LISTS)
async def test_a_cursor_of_another_list_is_refused(rest: Facade, case: str) -> None:
    """It would skip or repeat without a word."""
    await rest.history.record([row(minute) for minute in range(5)])
    cursor = (await rest.client.get(f"{EXECUTIONS}?limit=2")).json()["nextCursor"]
    path = OTHER_LISTS[case]
    response = await rest.client.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
    assert response.status_code == 422
    assert fields_of(response) == ["cursor"]


async def test_who_may_read_one_namespace_lists_that_one_alone(rest: Facade) -> None:
    """All namespaces, or another, are forbidden, and the answer says what would work."""
    await rest.history.record([row(0), row(1, namespace="team-b")])
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED)
    assert await minutes(rest, "/api/v1/namespaces/team-a/executions", **bob) == [0]
    assert await minutes(rest, f"{EXECUTIONS}?namespace=team-a", **bob) == [0]
    for path in (EXECUTIONS, f"{EXECUTIONS}?namespace=team-b", "/api/v1/namespaces/team-b/executions"):
        response = await rest.client.get(path, headers=bob)
        assert response.status_code == 403
        assert fields_of(response) == []
    assert "specify a namespace" in (await rest.client.get(EXECUTIONS, headers=bob)).json()["detail"]


CALLS: dict[str, tuple[str, str]] = {
    "read": ("GET", ""),
    "logs": ("GET", "/logs"),
    "retry": ("POST", "/retry"),
    "cancel": ("POST", "/cancel"),
}


@pytest.mark.parametrize("case", CALLS)
async def test_what_one_may_not_read_is_as_what_is_not_there(rest: Facade, case: str) -> None:
    """The answers differ in nothing but the id."""
    method, path = CALLS[case]
    secret = row(namespace="team-b")
    await rest.history.record([secret])
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED)
    unknown = UUID(int=1)
    answers = [
        await rest.client.request(method, f"{EXECUTIONS}/{uid}{path}", headers=bob) for uid in (secret.id, unknown)
    ]
    told = []
    for answer, uid in zip(answers, (secret.id, unknown), strict=True):
        assert answer.status_code == 404
        assert fields_of(answer) == []
        problem = {k: v for k, v in answer.json().items() if k != "requestId"}
        told.append(str(problem).replace(str(uid), "ID"))
    assert told[0] == told[1]


async def test_an_execution_is_told_with_its_attempts_and_its_repetitions(rest: Facade) -> None:
    """Linked both ways."""
    attempt = Attempt(
        number=1,
        status=FAILED,
        reason="dns",
        error="no such host",
        pod_name="nightly-0-x",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
    )
    first = row(attempts=(attempt,))
    again = row(5, retry_of=first.id)
    await rest.history.record([first, again])
    told = (await rest.client.get(f"{EXECUTIONS}/{first.id}")).json()
    assert told["attempts"] == [
        {
            "number": 1,
            "status": "failed",
            "reason": "dns",
            "error": "no such host",
            "podName": "nightly-0-x",
            "startedAt": "2026-03-01T12:00:00Z",
            "finishedAt": "2026-03-01T12:00:02Z",
            "durationSeconds": 2.0,
        }
    ]
    assert (told["retryOf"], told["retriedBy"]) == (None, [str(again.id)])
    told = (await rest.client.get(f"{EXECUTIONS}/{again.id}")).json()
    assert (told["retryOf"], told["retriedBy"]) == (str(first.id), [])


async def the_requests(rest: Facade) -> list[dict[str, Any]]:
    """Return the RunRequests."""
    return list(await rest.server.stores["RunRequest"].list(None))


async def retry(rest: Facade, record: ExecutionRecord, **more: Any) -> httpx.Response:
    """Ask for a repetition."""
    return await rest.client.post(f"{EXECUTIONS}/{record.id}/retry", **more)


ENDS = [s for s in ExecutionStatus if s not in {RUNNING, SUCCEEDED}]


@pytest.mark.parametrize("status", ENDS)
async def test_what_did_not_succeed_is_repeated(rest: Facade, status: ExecutionStatus) -> None:
    """202 with the id that the operator will compute, and where the request stands; it is on record."""
    record = await of_a_task(rest, status=status)
    response = await retry(rest, record)
    assert response.status_code == 202, response.text
    (request,) = await the_requests(rest)
    assert request["spec"].items() >= {"taskRef": {"name": "nightly"}, "retryOf": str(record.id)}.items()
    assert response.json() == {
        "id": str(run_execution_id(request)),
        "retryOf": str(record.id),
        "namespace": "team-a",
        "task": "nightly",
        "run": request["metadata"]["name"],
        "parameters": {},
    }
    assert (await rest.client.get(response.headers["location"])).status_code == 200
    event = (await rest.audited())[-1]
    assert (event.action, event.resource, event.name) == ("retry", "runrequests", request["metadata"]["name"])


async def test_whoever_asks_twice_gets_the_same_run(rest: Facade) -> None:
    """A double click, or a client without an answer, makes one request."""
    record = await of_a_task(rest)
    first, second = await retry(rest, record), await retry(rest, record)
    assert first.json() == second.json()
    assert len(await the_requests(rest)) == 1
    other = await retry(rest, record, json={"parameters": {"a": 5}})
    assert other.status_code == 409


async def test_a_repetition_is_found_before_it_has_run(rest: Facade) -> None:
    """By its execution's id alone, as any run that was asked for."""
    uid = (await retry(rest, await of_a_task(rest))).json()["id"]
    output = await rest.client.get("/api/v1/get-task-output", params={"id": uid})
    assert output.status_code == 200, output.text
    assert output.json()["status"] == "pending"


async def test_a_repetition_that_failed_can_be_followed_by_another(rest: Facade) -> None:
    """Once it is recorded, it is a new request; while it runs, it is not."""
    record = await of_a_task(rest)
    first = (await retry(rest, record)).json()
    again = row(5, id=UUID(first["id"]), task_uid=record.task_uid, retry_of=record.id, status=RUNNING)
    rest.history.rows[again.id] = again
    assert (await retry(rest, record)).status_code == 409
    rest.history.rows[again.id] = row(5, id=again.id, task_uid=record.task_uid, retry_of=record.id)
    second = (await retry(rest, record)).json()
    assert second["id"] != first["id"]
    assert len(await the_requests(rest)) == 2


async def test_a_request_is_repeated_with_its_parameters(rest: Facade) -> None:
    """As long as it is there; they may be given anew."""
    task = (await rest.create(spec=ADD)).json()
    spec = {"taskRef": {"name": "nightly"}, "parameters": {"a": 40}}
    body = {"metadata": {"name": "now", "namespace": "team-a"}, "spec": spec}
    request = await rest.server.stores["RunRequest"].create("team-a", body)
    origin = request["metadata"]["uid"]
    job = request_job_name("now", origin)
    record = row(task_uid=task["uid"], origin=origin, cause=Cause.MANUAL, job_name=job)
    await rest.history.record([record])
    response = await retry(rest, record)
    assert response.json()["parameters"] == {"a": 40}
    await rest.server.stores["RunRequest"].delete("team-a", "now")
    gone = await retry(rest, record)
    assert gone.status_code == 409
    assert "parameters" in gone.json()["detail"]
    same = await retry(rest, record, json={"parameters": {"a": 40}})
    assert same.json() == response.json()


async def test_parameters_that_the_task_does_not_have_are_refused(rest: Facade) -> None:
    """422, before anything is created."""
    record = await of_a_task(rest)
    response = await retry(rest, record, json={"parameters": {"c": 1}})
    assert response.status_code == 422
    assert fields_of(response) == ["parameters.c"]
    assert await the_requests(rest) == []


NOT_REPEATED: dict[str, tuple[dict[str, Any], str]] = {
    "it runs": ({"status": RUNNING}, "still running"),
    "it succeeded": ({"status": SUCCEEDED}, "succeeded"),
    "its task is another one by now": ({"task_uid": str(uuid4())}, "created again since"),
    "its task is gone": ({"task": "absent"}, "has been deleted"),
    "it had a task of its own": (
        {"cause": Cause.MANUAL, "task_uid": str(UUID(int=5)), "origin": str(UUID(int=5))},
        "own",
    ),
}


@pytest.mark.parametrize("case", NOT_REPEATED)
async def test_what_cannot_be_repeated_says_why(rest: Facade, case: str) -> None:
    """409, and nothing is created."""
    fields, want = NOT_REPEATED[case]
    uid = (await rest.create(spec=ADD)).json()["uid"]
    record = row(**{"task_uid": uid, **fields})
    await rest.history.record([record])
    response = await retry(rest, record)
    assert response.status_code == 409
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:wrong-state"
    assert want in response.json()["detail"]
    assert await the_requests(rest) == []


async def test_a_repetition_needs_the_right_to_create_requests(rest: Facade) -> None:
    """The cluster's refusal is the answer."""
    record = await of_a_task(rest)
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["scheduledtasks"], "team-a"))
    response = await retry(rest, record, headers=bob)
    assert response.status_code == 403
    assert fields_of(response) == []
    assert await the_requests(rest) == []


async def running_job(rest: Facade, record: ExecutionRecord) -> None:
    """Have the cluster run an execution's Job and its pod."""
    labels, annotations = {LABEL_TASK_UID: record.task_uid}, {ANNOTATION_EXECUTION_ID: str(record.id)}
    meta = {"name": record.job_name, "namespace": record.namespace, "labels": labels, "annotations": annotations}
    template = {"metadata": {"labels": labels, "annotations": annotations}}
    await rest.server.cluster.create_job({"metadata": meta, "spec": {"template": template}})
    rest.server.cluster.start_pod(record.namespace, str(record.job_name))


async def test_an_execution_that_runs_is_ended_by_its_job(rest: Facade) -> None:
    """202; the Job is deleted, and it is on record who did it."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert response.status_code == 202, response.text
    assert response.json()["jobName"] == "nightly-0"
    assert rest.server.cluster.jobs == {}
    event = (await rest.audited())[-1]
    assert (event.action, event.resource, event.name) == ("cancel", "executions", str(record.id))


async def test_a_job_of_the_same_name_is_not_touched(rest: Facade) -> None:
    """Names come round again: the execution's id on the Job decides."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, row(7, job_name=record.job_name))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert (response.status_code, response.json()["jobName"]) == (202, None)
    assert "no longer exists" in response.json()["message"]
    assert len(rest.server.cluster.jobs) == 1


async def test_the_end_of_a_job_that_is_gone_is_said_to_come(rest: Facade) -> None:
    """There is nothing left to delete, and the row is closed without us; nobody has changed anything."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert (response.status_code, response.json()["jobName"]) == (202, None)
    assert await rest.audited() == []


@pytest.mark.parametrize("other", [False, True])
async def test_who_may_not_delete_jobs_is_told_so_though_the_job_is_gone(rest: Facade, *, other: bool) -> None:
    """Whether it is there, or another of its name, makes no difference to who may cancel."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    if other:
        await running_job(rest, row(7, job_name=record.job_name))
    looker = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["jobs"], "team-a"))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel", headers=looker)
    assert response.status_code == 403


async def test_what_has_ended_is_not_cancelled(rest: Facade) -> None:
    """409 with how it ended."""
    record = row()
    await rest.history.record([record])
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert response.status_code == 409
    assert "failed" in response.json()["detail"]


async def test_cancelling_needs_the_right_to_delete_jobs(rest: Facade) -> None:
    """To read them is not enough."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["jobs"], "team-a"))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel", headers=bob)
    assert response.status_code == 403
    assert len(rest.server.cluster.jobs) == 1


async def test_logs_are_text(rest: Facade) -> None:
    """UTF-8, with whatever else a program says replaced; the end of them, or so many bytes."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    rest.server.logs["team-a", "nightly-0-pod"] = "eins\nzwölf\n".encode() + b"\xff\n"
    path = f"{EXECUTIONS}/{record.id}/logs"
    response = await rest.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "eins\nzwölf\n\N{REPLACEMENT CHARACTER}\n"
    assert (await rest.client.get(f"{path}?tailLines=2&limitBytes=3")).text == "zw\N{REPLACEMENT CHARACTER}"
    assert (await rest.client.get(f"{path}?pod=nightly-0-pod&limitBytes=4")).text == "eins"


async def test_logs_are_of_the_container_that_runs_the_task(rest: Facade) -> None:
    """What a mesh has put beside it is not asked, wherever it stands."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    pod = rest.server.cluster.pods["team-a", "nightly-0-pod"]
    for name in ("runner", "task"):
        pod["spec"] = {"containers": [{"name": "proxy"}, {"name": name}]}
        rest.server.logs["team-a", "nightly-0-pod"] = name.encode()
        assert (await rest.client.get(f"{EXECUTIONS}/{record.id}/logs")).text == name


GONE: dict[str, tuple[dict[str, Any], str]] = {
    "the pod is gone": ({}, ""),
    "there never was one": ({"job_name": None, "status": ExecutionStatus.SKIPPED}, ""),
    "it has no such pod": ({}, "?pod=other"),
}


@pytest.mark.parametrize("case", GONE)
async def test_logs_that_are_gone_say_so(rest: Facade, case: str) -> None:
    """404 of a kind of its own: the execution is there, and its logs are not."""
    fields, query = GONE[case]
    record = row(**fields)
    await rest.history.record([record])
    if query:
        await running_job(rest, record)
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs{query}")
    assert response.status_code == 404
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:logs-gone"


async def test_a_pod_that_has_not_begun_has_said_nothing(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """409: there will be logs in a moment."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)

    def waiting(_logs: object, _where: object) -> bytes:
        raise RefusedError('container "runner" is waiting to start: ContainerCreating')

    class Waiting(dict[tuple[str, str], bytes]):
        __getitem__ = waiting

    monkeypatch.setattr(rest.server, "logs", Waiting())
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs")
    assert response.status_code == 409
    assert "waiting to start" in response.json()["detail"]


async def test_logs_need_the_right_to_read_them(rest: Facade) -> None:
    """To list pods is not enough."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    rest.server.logs["team-a", "nightly-0-pod"] = b"secret"
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["list"], ["pods"], "team-a"))
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs", headers=bob)
    assert response.status_code == 403
    assert "secret" not in response.text


BAD_LOGS = ("tailLines=0", "limitBytes=0", "limitBytes=1048577", "pod=", "follow=true")


@pytest.mark.parametrize("query", BAD_LOGS)
async def test_a_bad_part_of_the_logs_is_named(rest: Facade, query: str) -> None:
    """422, with the parameter."""
    response = await rest.client.get(f"{EXECUTIONS}/{UUID(int=1)}/logs?{query}")
    assert response.status_code == 422
    assert fields_of(response) == [query.partition("=")[0]]
