"""The facade over the memory adapters, and a client without a socket."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI

from carillon_api.app import describing_app
from carillon_api.auth.access import AccessControl
from carillon_api.auth.audit import AuditTrail
from carillon_api.auth.served import ServedAPIServer, ServedAudit, ServedHistory, ServedPast, ServedReports
from carillon_api.events.hub import EventHub, Pace
from carillon_api.events.sources import ExecutionSource, Source, TaskSource
from carillon_api.services.context import Backends
from carillon_api.settings import Settings
from carillon_core.adapters.memory.audit import MemoryAuditLog
from carillon_core.adapters.memory.caller import MemoryAPIServer, Rule
from carillon_core.adapters.memory.changes import MemoryChangedExecutions, MemoryChangedTasks
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.idempotency import MemoryIdempotency
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.adapters.memory.reports import MemoryReports
from carillon_core.adapters.memory.revisions import MemoryRevisions
from carillon_core.backoff import Backoff
from carillon_core.domain.access.subjects import Subject
from carillon_core.ports import AuditEvent

sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # absent: httpx looks for it twice a request, on disk
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TASKS = "/api/v1/namespaces/team-a/tasks"
EVERY_MINUTE: dict[str, Any] = {"schedule": "* * * * *", "task": {"sleep": {"durationSeconds": 1}}}
DEFAULTS: dict[str, Any] = {
    "jitterSeconds": 0,
    "suspend": False,
    "concurrencyPolicy": "Forbid",
    "missedRunPolicy": "Latest",
    "successfulJobsHistoryLimit": 3,
    "failedJobsHistoryLimit": 1,
    "finishedRequestsHistoryLimit": 100,
}
"""The defaults that the CRD fills into a stored spec."""
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
SECRET = "s3cr3t-pa55"  # noqa: S105  # a marker that tests search for in responses, not a password
TOKEN = "t0ken-of-alice"  # noqa: S105  # of a cluster in memory
CALLER = Subject("alice", ("developers", "system:authenticated"))
"""The client's user, who may do anything."""
HASTY = Pace(tick_seconds=0.001, beat_ticks=1_000_000, confirm_ticks=1_000_000, flush_seconds=0.001)
"""Streams without heartbeats and confirmations, unless a test asks for them."""
UNLIMITED = 1_000_000
"""More requests than any test makes."""
DEFAULT_SETTINGS: dict[str, Any] = {
    "database_url": f"postgresql://carillon:{SECRET}@db/carillon",
    "default_namespace": "team-a",
    "rate_limit": UNLIMITED,
    "rate_burst": UNLIMITED,
}
AS_CALLER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        """Return its time."""
        return self.now

    def seconds(self) -> float:
        """Return its time as a monotonic clock would."""
        return self.now.timestamp()


@dataclass
class Facade:
    """An app, its backends, and a client."""

    app: FastAPI
    client: httpx.AsyncClient
    server: MemoryAPIServer
    history: MemoryHistory
    audit_log: MemoryAuditLog
    audit: AuditTrail
    idempotency: MemoryIdempotency
    revisions: MemoryRevisions
    events: EventHub
    changed: MemoryChangedExecutions
    changed_tasks: MemoryChangedTasks
    clock: Clock = field(default_factory=Clock)

    async def audited(self) -> list[AuditEvent]:
        """Return the events of the audit, oldest first, once the queue is empty."""
        await self.audit.drained()
        return sorted(self.audit_log.events.values(), key=lambda event: event.at)

    def let(self, name: str, token: str, *rules: Rule) -> Mapping[str, str]:
        """Create a user with only these permissions; return the headers of its requests."""
        self.server.tokens[token] = Subject(name, ("system:authenticated",))
        self.server.rules[name] = list(rules)
        return {"Authorization": f"Bearer {token}"}

    @property
    def tasks(self) -> MemoryObjectStore:
        """The ScheduledTasks."""
        return self.server.tasks

    async def create(
        self, name: str = "nightly", spec: Mapping[str, Any] = EVERY_MINUTE, **body: Any
    ) -> httpx.Response:
        """Create a task in ``team-a``, which must succeed."""
        response = await self.client.post(TASKS, json={"name": name, "spec": spec, **body})
        assert response.status_code == 201, response.text
        return response


@cache
def _app() -> FastAPI:
    """Return the app that all tests share, because creating it is most of a test's time; each test sets its context."""
    return describing_app()


@cache
def _settings() -> Settings:
    """Return the settings that most tests share; they cannot be changed."""
    return Settings(**DEFAULT_SETTINGS)


def openapi_document() -> dict[str, Any]:
    """Return the app's OpenAPI document, which is generated once and must not be changed."""
    return _app().openapi()


@asynccontextmanager
async def facade(pace: Pace = HASTY, **settings: Any) -> AsyncIterator[Facade]:
    """Yield a facade over empty stores; an error that escapes the app fails the test.

    Its clocks stand, those by which it caches and limits too: what it has asked the API server once it knows until the
    test moves ``clock.now``.
    """
    clock = Clock()
    server = MemoryAPIServer(clock=clock, tokens={TOKEN: CALLER}, rules={CALLER.name: [Rule("*", "*")]})
    history = MemoryHistory()
    audit_log = MemoryAuditLog()
    idempotency = MemoryIdempotency()
    revisions = MemoryRevisions(history)
    made = Settings(**(DEFAULT_SETTINGS | settings)) if settings else _settings()
    served = ServedAPIServer(server, made.scope)
    access = AccessControl(served, made, clock, clock.seconds)
    changed, tasks = MemoryChangedExecutions(history), MemoryChangedTasks(server.tasks)
    retries = Backoff(first=0.001, longest=0.002)
    sources: list[Source] = [
        ExecutionSource(changed, made.scope.namespaces, 0.001, retries),
        *(TaskSource(tasks, place, retries) for place in made.scope.places),
    ]
    async with (
        AuditTrail(ServedAudit(audit_log, made.scope)) as audit,
        EventHub(sources, made.event_streams, made.event_streams_per_caller, pace) as events,
    ):
        app = _app()
        app.state.metrics.history.forget()  # values of another test's history
        read = ServedHistory(history, made.scope)
        reports = ServedReports(MemoryReports(history), made.scope)
        past = ServedPast(revisions, made.scope)
        app.state.backends = Backends(served, read, clock, made, access, audit, idempotency, reports, past, events)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://facade", headers=AS_CALLER) as client:
            yield Facade(
                app, client, server, history, audit_log, audit, idempotency, revisions, events, changed, tasks, clock
            )


def fields_of(response: httpx.Response) -> list[str]:
    """Return the fields that a problem names, having checked that the answer is a problem of RFC 9457."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"].startswith("urn:carillon:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/")
    assert problem["requestId"] == response.headers["x-request-id"]
    assert SECRET not in response.text
    assert "Traceback" not in response.text
    return [e["field"] for e in problem["errors"]]
