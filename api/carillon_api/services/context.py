"""What an operation works with: the app's backends, and for each request the cluster as its caller sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from carillon_api.auth.access import AccessControl, Origin
from carillon_api.auth.audit import AuditTrail, audit_event
from carillon_api.auth.authentication import Caller
from carillon_api.auth.served import check_served
from carillon_api.observability.readiness import Probes
from carillon_api.settings import Settings
from carillon_api.views.listings import Listings
from carillon_api.views.timetables import Timetables
from carillon_core.domain.access.subjects import RESOURCE_EXECUTIONS, Access
from carillon_core.errors import ForbiddenError
from carillon_core.ports import APIServer, CallerCluster, HistoryReader, IdempotencyStore, JSONObject, ObjectStore


@dataclass(frozen=True, slots=True)
class Backends:
    """What the facade works with; one for each app."""

    api_server: APIServer
    executions: HistoryReader
    clock: Callable[[], datetime]
    settings: Settings
    access: AccessControl
    """Who calls, how often, and what each may do."""
    audit: AuditTrail
    """What was changed, and by whom."""
    idempotency: IdempotencyStore
    """The keys by which a POST is safe to repeat."""
    timetables: Timetables = field(default_factory=Timetables)
    """What was read out of specs before."""
    listings: Listings = field(default_factory=Listings)
    """The tasks of all, as of a moment ago."""
    readiness: Probes = field(default_factory=Probes)
    """What probes find."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a route works with: the cluster as its caller sees it; one for each request."""

    backends: Backends
    caller: Caller
    cluster: CallerCluster
    origin: Origin
    """From where the caller calls."""

    @property
    def tasks(self) -> ObjectStore:
        """The ScheduledTasks, as the caller."""
        return self.cluster.objects("ScheduledTask")

    @property
    def targets(self) -> ObjectStore:
        """The HTTPTargets, as the caller."""
        return self.cluster.objects("HTTPTarget")

    @property
    def requests(self) -> ObjectStore:
        """The RunRequests, as the caller."""
        return self.cluster.objects("RunRequest")

    @property
    def executions(self) -> HistoryReader:
        """The history, which knows nothing of who may read it: ``authorize`` first."""
        return self.backends.executions

    @property
    def settings(self) -> Settings:
        """What the facade was told from outside."""
        return self.backends.settings

    def clock(self) -> datetime:
        """Return this instant."""
        return self.backends.clock()

    async def authorize(
        self, verb: str, resource: str = RESOURCE_EXECUTIONS, namespace: str | None = None, name: str | None = None
    ) -> None:
        """Return if the caller may do that, by the cluster's RBAC; for what is no object of the cluster.

        Without a namespace, in all that are served: each of them, if they are listed.

        Raises:
            ForbiddenError: With the reason.

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
            where = f"in the namespace {namespace}" if namespace else "in all namespaces: name one"
            why = f" ({decision.reason})" if decision.reason else ""
            raise ForbiddenError(
                f'{resource}.carillon.dev is forbidden: User "{self.caller.subject.name}" cannot {verb} resource '
                f'"{resource}" in API group "carillon.dev" {where}{why}'
            )

    async def record_change(
        self, action: str, resource: str, before: JSONObject | None, after: JSONObject | None
    ) -> None:
        """Keep on record that the caller has changed something; this neither fails nor waits for the database.

        Args:
            action: ``create``, ``update``, ``delete``, ``suspend``, ``resume``, ``run``, ``retry``, ``cancel``.
            resource: ``scheduledtasks``, ``httptargets``, ``runrequests``, ``executions``.
            before: The raw object before, with namespace and name in its ``metadata``; None if there was none.
            after: The raw object since; None if there is none any more. Of both, only spec and labels are kept.

        """
        event = audit_event(self.caller, self.origin, self.clock(), action, resource, (before, after))
        self.backends.audit.record(event)
        self.backends.listings.forget(self.caller.subject)
