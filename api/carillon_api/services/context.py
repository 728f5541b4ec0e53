"""The context of an operation: the app's backends, and for each request the cluster as its caller sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from carillon_api.auth.access import AccessControl, Origin, refusal
from carillon_api.auth.audit import AuditTrail, audit_event
from carillon_api.auth.authentication import Caller
from carillon_api.auth.served import check_served
from carillon_api.events.hub import EventHub
from carillon_api.observability.readiness import Probes
from carillon_api.services.changes.turns import BulkTurns
from carillon_api.services.computing import Computing
from carillon_api.settings import Settings
from carillon_api.views.listings import Listings
from carillon_api.views.timetables import Timetables
from carillon_core.domain.access.subjects import RESOURCE_EXECUTIONS, Access
from carillon_core.errors import ForbiddenError
from carillon_core.ports import (
    APIServer,
    CallerCluster,
    HistoryReader,
    HistoryReports,
    IdempotencyStore,
    JSONObject,
    ObjectStore,
    TaskPast,
)


@dataclass(frozen=True, slots=True)
class Backends:
    """The app's ports and shared state; one for each app."""

    api_server: APIServer
    executions: HistoryReader
    clock: Callable[[], datetime]
    settings: Settings
    access: AccessControl
    """Authentication, authorization and rate limits."""
    audit: AuditTrail
    """Who changed what."""
    idempotency: IdempotencyStore
    """The idempotency keys of POST requests and their responses."""
    reports: HistoryReports
    """Aggregates over the history."""
    past: TaskPast
    """The specs that tasks have had, and the rows of single slots."""
    events: EventHub
    """The streams of changes."""
    timetables: Timetables = field(default_factory=Timetables)
    """The cached timetables of specs."""
    listings: Listings = field(default_factory=Listings)
    """The cached lists of tasks."""
    readiness: Probes = field(default_factory=Probes)
    """The latest result of the readiness probe."""
    computing: Computing = field(default_factory=Computing)
    """Held while a report computes many slots."""
    bulk: BulkTurns = field(default_factory=BulkTurns)
    """The bulk calls in progress."""


@dataclass(frozen=True, slots=True)
class Context:
    """The cluster as the caller of a request sees it; one for each request."""

    backends: Backends
    caller: Caller
    cluster: CallerCluster
    origin: Origin
    """Where the request comes from."""
    dry_run: bool = False
    """Whether the request only asks what it would change: the API server judges the writes and stores nothing."""

    @property
    def tasks(self) -> ObjectStore:
        """The ScheduledTasks, as the caller."""
        return self.cluster.objects("ScheduledTask", dry_run=self.dry_run)

    @property
    def targets(self) -> ObjectStore:
        """The HTTPTargets, as the caller."""
        return self.cluster.objects("HTTPTarget", dry_run=self.dry_run)

    @property
    def requests(self) -> ObjectStore:
        """The RunRequests, as the caller."""
        return self.cluster.objects("RunRequest", dry_run=self.dry_run)

    @property
    def executions(self) -> HistoryReader:
        """The history; it does not check permissions, so call ``authorize`` first."""
        return self.backends.executions

    @property
    def reports(self) -> HistoryReports:
        """Aggregates over the history; they do not check permissions, so call ``authorize`` first."""
        return self.backends.reports

    @property
    def past(self) -> TaskPast:
        """The specs that tasks have had; it does not check permissions, so call ``authorize`` first."""
        return self.backends.past

    @property
    def settings(self) -> Settings:
        """The settings of the facade."""
        return self.backends.settings

    def clock(self) -> datetime:
        """Return the current time."""
        return self.backends.clock()

    async def authorize(
        self, verb: str, resource: str = RESOURCE_EXECUTIONS, namespace: str | None = None, name: str | None = None
    ) -> None:
        """Return if RBAC grants the caller a permission; for resources that are not objects of the cluster.

        Without a namespace, the caller needs the permission in all served namespaces: in each one if the settings
        list them, otherwise in the cluster.

        Raises:
            ForbiddenError: If not, with the reason.

        """
        if namespace is None and self.settings.scope.namespaces:
            for each in self.settings.scope.namespaces:
                await self.authorize(verb, resource, each, name)
            return
        if namespace is not None:
            check_served(self.settings.scope, namespace)
        access = Access(verb=verb, resource=resource, namespace=namespace, name=name)
        decision = await self.backends.access.review(self.caller.subject, access)
        if not decision.allowed:
            raise ForbiddenError(refusal(self.caller.subject, access, decision))

    async def record_change(
        self, action: str, resource: str, before: JSONObject | None, after: JSONObject | None
    ) -> None:
        """Record a change by the caller in the audit, unless it is a dry run, which changes nothing.

        This neither fails nor waits for the database.

        Args:
            action: ``create``, ``update``, ``delete``, ``suspend``, ``resume``, ``run``, ``retry``, ``cancel``.
            resource: ``scheduledtasks``, ``httptargets``, ``runrequests``, ``executions``.
            before: The raw object before, with namespace and name in its ``metadata``; None if it was created.
            after: The raw object after; None if it was deleted. Only spec and labels of both are recorded.

        """
        if self.dry_run:
            return
        event = audit_event(self.caller, self.origin, self.clock(), action, resource, (before, after))
        self.backends.audit.record(event)
        self.backends.listings.forget(self.caller.subject)
