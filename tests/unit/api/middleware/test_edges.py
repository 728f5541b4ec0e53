"""Outages, unexpected errors, correlation ids, the log, and the documentation pages."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from carillon_api.services.probes import system_health_of
from carillon_api.views.tasks import task_view
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Window
from carillon_core.errors import FieldProblem, ForbiddenError, RefusedError, UnavailableError
from support.api import EVERY_MINUTE, NOW, SECRET, TASKS, Facade, facade, fields_of
from support.waiting import eventually


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


@pytest.mark.parametrize("odd", ["a text", 5, [{"schedule": "* * * * *"}], None], ids=repr)
def test_what_an_age_without_a_schema_has_left_is_shown_as_nothing(odd: object) -> None:
    """One such object must not break the whole list."""
    meta = {"name": "old", "namespace": "team", "uid": "u", "resourceVersion": "1"}
    raw = {"metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": odd, "status": odd}
    shown = task_view(raw, Window(NOW, NOW, None, 1), Timetables())
    assert (shown.name, shown.spec, shown.status) == ("old", {}, {})
    assert (shown.schedule_in_words, shown.next_runs) == (None, [])


async def test_liveness_needs_nothing(rest: Facade) -> None:
    """A restart does not fix the database."""
    rest.tasks.outage = rest.history.outage = "connection refused"
    response = await rest.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_readiness_names_each_thing_that_is_there(rest: Facade) -> None:
    """The response is 200 with both checks."""
    response = await rest.client.get("/readyz")
    assert response.status_code == 200
    checks = [{"name": "database", "ok": True, "why": None}, {"name": "API server", "ok": True, "why": None}]
    assert response.json() == {"status": "ready", "checks": checks}


MISSING: dict[str, tuple[str | None, str | None, list[tuple[str, bool]]]] = {
    "the database": ("connection refused", None, [("database", False), ("API server", True)]),
    "the API server": (None, "connection refused", [("database", True), ("API server", False)]),
    "both": ("connection refused", "no route", [("database", False), ("API server", False)]),
}


@pytest.mark.parametrize("case", MISSING)
async def test_readiness_names_each_thing_that_is_missing(rest: Facade, case: str) -> None:
    """The response is 503 with each reason."""
    rest.history.outage, rest.tasks.outage, want = MISSING[case]
    response = await rest.client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert fields_of(response) == []
    checks = response.json()["checks"]
    assert [(c["name"], c["ok"]) for c in checks] == want
    assert all(c["ok"] or c["why"] for c in checks)


async def test_the_state_of_the_system_is_public_and_says_no_reason(rest: Facade) -> None:
    """An operator that has not maintained the history may be down, which the API cannot know."""
    rest.client.headers.pop("Authorization")
    response = await rest.client.get("/api/v1/health")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    states = {each["name"]: each["status"] for each in response.json()["components"]}
    assert states == {"database": "up", "apiServer": "up", "operator": "unknown"}
    rest.history.outage = f"no route to {SECRET}"
    response = await rest.client.get("/api/v1/health")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["detail"] == "database is down"


@pytest.mark.parametrize(("ago", "want"), [(timedelta(minutes=119), "ok"), (timedelta(hours=2), "degraded")])
async def test_an_operator_that_maintains_the_history_is_up(rest: Facade, ago: timedelta, want: str) -> None:
    """It does so every hour."""
    history = replace(await rest.history.summary(NOW), maintained_at=NOW - ago)
    assert system_health_of(history, NOW).status == want


async def test_what_is_missing_is_said_in_the_log_once(rest: Facade, caplog: pytest.LogCaptureFixture) -> None:
    """Changes are logged, but not each probe."""
    caplog.set_level("INFO", logger="carillon_api.observability.readiness")
    for outage in ("connection refused", "connection refused", "no route", None, None):
        rest.history.outage = outage
        await rest.client.get("/readyz")
    said = [(r.message, getattr(r, "fields", {}).get("why", "")) for r in caplog.records if "readiness" in r.name]
    assert said == [
        ("not ready", "database: connection refused"),
        ("not ready", "database: no route"),
        ("ready", ""),
    ]


async def test_probes_at_once_ask_once(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is public: a thousand probes must not use up the database's connections. Results are not cached."""
    asked: list[int] = []
    answered = asyncio.Event()
    registry = rest.app.state.metrics.registry

    async def slowly() -> None:
        asked.append(1)
        await answered.wait()

    monkeypatch.setattr(rest.history, "ping", slowly)
    probes = asyncio.gather(*(rest.client.get("/readyz") for _ in range(50)))
    await eventually(lambda: registry.get_sample_value("carillon_api_requests_in_flight") == 50)
    answered.set()
    assert {answer.status_code for answer in await probes} == {200}
    assert len(asked) < 10
    before = len(asked)
    assert (await rest.client.get("/readyz")).status_code == 200
    assert len(asked) == before + 1


CALLS: dict[str, tuple[str, str, str]] = {
    "create": ("POST", TASKS, "API server"),
    "list": ("GET", TASKS, "API server"),
    "read": ("GET", f"{TASKS}/nightly", "API server"),
    "replace": ("PUT", f"{TASKS}/nightly", "API server"),
    "patch": ("PATCH", f"{TASKS}/nightly", "API server"),
    "delete": ("DELETE", f"{TASKS}/nightly", "API server"),
    "upcoming": ("GET", "/api/v1/upcoming", "API server"),
    "history": ("GET", "/api/v1/executions", "database"),
    "an execution": ("GET", "/api/v1/executions/00000000-0000-0000-0000-000000000000", "database"),
}


@pytest.mark.parametrize("case", CALLS)
async def test_an_outage_is_said_and_when_to_come_back(rest: Facade, case: str) -> None:
    """503 with Retry-After names the unavailable part, without the details of the adapter's error.

    The caller's identity and permissions are cached, because it has just called.
    """
    method, path, want_missing = CALLS[case]
    await rest.client.get("/api/v1/executions")
    rest.tasks.outage = rest.history.outage = f"no answer from postgresql://carillon:{SECRET}@db/carillon"
    body = {"name": "a", "spec": EVERY_MINUTE} if method == "POST" else {"spec": EVERY_MINUTE}
    response = await rest.client.request(method, path, json=body if method in {"POST", "PUT", "PATCH"} else None)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert fields_of(response) == []
    assert response.json()["detail"].startswith(f"{want_missing} is unavailable")


async def test_one_outage_leaves_the_other_half_working(rest: Facade) -> None:
    """Without the database, tasks can be changed; without the API server, the history can be read."""
    assert (await rest.client.get("/api/v1/executions")).status_code == 200
    rest.history.outage = "gone"
    await rest.create()
    rest.history.outage, rest.tasks.outage = None, "gone"
    assert (await rest.client.get("/api/v1/executions")).status_code == 200


ERRORS: dict[str, tuple[Exception, int, str, list[str]]] = {
    "what the cluster forbids": (ForbiddenError("may not list"), 403, "forbidden", []),
    "what the cluster refuses": (
        RefusedError("spec.x: too big", [FieldProblem("spec.x", "too big")]),
        422,
        "refused",
        ["spec.x"],
    ),
    "what the cluster refuses of the metadata": (
        RefusedError("no such label", [FieldProblem("metadata.labels", "no such label")]),
        422,
        "refused",
        ["labels"],
    ),
    "an outage": (UnavailableError("API server", "gone"), 503, "unavailable", []),
    "what nobody expected": (RuntimeError(f"could not use {SECRET}"), 500, "internal-error", []),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_an_error_of_the_store_is_a_problem(
    rest: Facade, case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of our errors has its status; any other is 500, with the details in the log under the request id."""
    error, want_status, want_kind, want_fields = ERRORS[case]

    async def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(rest.tasks, "list", failing)
    response = await rest.client.get(TASKS, headers={"X-Request-ID": "req-1"})
    assert response.status_code == want_status
    assert fields_of(response) == want_fields
    assert response.json()["type"] == f"urn:carillon:problem:{want_kind}"
    logged = [r for r in caplog.records if r.exc_info]
    assert len(logged) == (want_status == 500)
    if want_status == 500:
        assert vars(logged[0])["fields"] == {"request_id": "req-1"}
        assert "req-1" in response.json()["detail"]


IDS: dict[str, tuple[str | None, bool]] = {
    "a harmless one is kept": ("order-17.a_B", True),
    "none": (None, False),
    "an empty one": ("", False),
    "one with a blank": ("a b", False),
    "one that is too long": ("a" * 129, False),
    "one that would forge a line of the log": ("a\u00e9status=200", False),
}


@pytest.mark.parametrize("case", IDS)
async def test_a_request_has_an_id_in_the_answer_and_in_the_log(
    rest: Facade, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the caller's id if it is safe to log, otherwise a new one."""
    given, want_kept = IDS[case]
    caplog.set_level(logging.INFO)
    headers = [] if given is None else [(b"X-Request-ID", given.encode("latin-1"))]
    response = await rest.client.get(TASKS, headers=headers)
    answered = response.headers["x-request-id"]
    assert (answered == given) is want_kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answered)
    fields = vars(next(r for r in caplog.records if r.name == "carillon_api.access"))["fields"]
    assert {k: fields[k] for k in ("method", "path", "status", "request_id")} == {
        "method": "GET",
        "path": TASKS,
        "status": 200,
        "request_id": answered,
    }


async def test_the_log_holds_the_path_as_it_was_sent(rest: Facade, caplog: pytest.LogCaptureFixture) -> None:
    """A line break in a path stays encoded, and the query is omitted, because it may hold secrets."""
    caplog.set_level(logging.INFO)
    await rest.client.get(f"{TASKS}/a%0Aforged?x={SECRET}")
    record = next(r for r in caplog.records if r.name == "carillon_api.access")
    assert vars(record)["fields"]["path"] == f"{TASKS}/a%0Aforged"


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_documentation_needs_no_other_machine(rest: Facade, page: str) -> None:
    """All scripts, styles and images of the page come from the facade."""
    html = (await rest.client.get(page)).text
    assert "https://" not in html
    assets = re.findall(r'(?:src|href)="(/[^"]+)"', html)
    assert len(assets) >= 2
    for asset in assets:
        assert (await rest.client.get(asset)).status_code == 200, asset


async def test_swagger_ui_can_read_the_documents_version(rest: Facade) -> None:
    """OpenAPI 3.1 needs Swagger UI 5."""
    assert (await rest.client.get("/openapi.json")).json()["openapi"].startswith("3.1")
    script = (await rest.client.get("/docs-assets/swagger-ui-bundle.js")).text
    version = re.search(r'PACKAGE_VERSION:"(\d+)\.', script)
    assert version is not None
    assert int(version[1]) >= 5


async def test_no_answer_names_the_settings(rest: Facade) -> None:
    """The database's URL must not appear."""
    for path in ("/openapi.json", "/readyz", "/healthz", TASKS, "/api/v1/none"):
        assert SECRET not in json.dumps((await rest.client.get(path)).json())
