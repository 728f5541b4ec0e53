"""Wrappers that limit the ports of the facade to the namespaces that it serves.

``__main__`` puts them around the adapters, so that no route can forget the
limit: lists of all namespaces contain the served ones only, and a request for
another namespace is rejected. If all namespaces are served, they pass every
call on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from carillon_api.http.problems import NotServedError
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.scope import SETTING, Scope
from carillon_core.domain.why.revision import TaskRevision
from carillon_core.errors import NotFoundError, RefusedError
from carillon_core.ports import (
    APIServer,
    AuditAuthor,
    AuditEvent,
    AuditLog,
    AuditPage,
    AuditQuery,
    BucketCounts,
    CallerCluster,
    ExecutionPage,
    ExecutionQuery,
    FirstJobs,
    HistoryReader,
    HistoryReports,
    HistorySummary,
    JSONObject,
    Mark,
    ObjectKind,
    ObjectPage,
    ObjectStore,
    ReportQuery,
    RevisionPage,
    RevisionQuery,
    Statistics,
    TaskPast,
)


def check_served(scope: Scope, namespace: str) -> None:
    """Return if a namespace is served; otherwise raise ``NotServedError``, which names the setting."""
    if not scope.holds(namespace):
        raise NotServedError(
            f"this API does not serve the namespace {namespace}, only {scope}: use one of these, or ask your"
            f" administrator to add it to {SETTING} (watch.namespaces in the Helm chart)"
        )


class ServedAPIServer:
    """``APIServer`` limited to the served namespaces."""

    def __init__(self, server: APIServer, scope: Scope) -> None:
        """Take the API server and the namespaces."""
        self._server = server
        self._scope = scope

    def acting_as(self, subject: Subject | None) -> "ServedCluster":
        """Return the cluster as a subject sees it; None is the facade's own account."""
        return ServedCluster(self._server.acting_as(subject), self._scope)

    async def review_token(self, token: str) -> Subject | None:
        """Return whose bearer token it is, or None if it is not valid (TokenReview)."""
        return await self._server.review_token(token)

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``; not limited, as it may be in another namespace."""
        return await self._server.read_secret(namespace, name)

    async def mark_cancelled(self, namespace: str, job: str, uid: str, user: str) -> None:
        """Note on a Job who cancels it."""
        check_served(self._scope, namespace)
        await self._server.mark_cancelled(namespace, job, uid, user)

    async def ping(self) -> None:
        """Return if the API server answers and serves our kinds; otherwise raise ``UnavailableError``."""
        await self._server.ping()


class ServedCluster:
    """``CallerCluster`` limited to the served namespaces; calls raise ``NotServedError`` for others."""

    def __init__(self, cluster: CallerCluster, scope: Scope) -> None:
        """Take the cluster as a caller sees it."""
        self._cluster = cluster
        self._scope = scope

    def objects(self, kind: ObjectKind, *, dry_run: bool = False) -> "ServedObjects":
        """Return the objects of one of our kinds; with ``dry_run``, writes are judged only."""
        return ServedObjects(self._cluster.objects(kind, dry_run=dry_run), self._scope)

    async def review(self, access: Access) -> Decision:
        """Return whether the caller has a permission; not limited, because RBAC does not know the served namespaces."""
        return await self._cluster.review(access)

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        check_served(self._scope, namespace)
        return await self._cluster.get_job(namespace, name)

    async def list_jobs(self, namespace: str, label_selector: str, most: int) -> FirstJobs:
        """Return the first Jobs that match a label selector."""
        check_served(self._scope, namespace)
        return await self._cluster.list_jobs(namespace, label_selector, most)

    async def delete_job(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Job and, in the background, its pods, if its uid is still the same."""
        check_served(self._scope, namespace)
        await self._cluster.delete_job(namespace, name, uid, dry_run=dry_run)

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods that match a label selector."""
        check_served(self._scope, namespace)
        return await self._cluster.list_pods(namespace, label_selector)

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return the log of a pod's container, at most ``limit_bytes`` of it."""
        check_served(self._scope, namespace)
        return await self._cluster.pod_log(
            namespace, pod, container=container, tail_lines=tail_lines, limit_bytes=limit_bytes
        )


class ServedObjects:
    """``ObjectStore`` limited to the served namespaces: a list of all is the lists of each, one after the other.

    So the caller needs permission to list in each of them, and not in the whole cluster.
    """

    def __init__(self, store: ObjectStore, scope: Scope) -> None:
        """Take the objects as a caller sees them."""
        self._store = store
        self._scope = scope

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored."""
        check_served(self._scope, namespace)
        return await self._store.create(namespace, body)

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        check_served(self._scope, namespace)
        return await self._store.get(namespace, name)

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all served namespaces, ordered by namespace and name."""
        found: list[JSONObject] = []
        for place in self._places(namespace):
            found += await self._store.list(place, label_selector)
        return found

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects of the next page; the token contains the namespace, too."""
        places = self._places(namespace)
        if len(places) == 1:
            return await self._store.page(
                places[0], limit=limit, label_selector=label_selector, continue_token=continue_token
            )
        first, _, token = (continue_token or f"{places[0]}/").partition("/")
        if first not in places:
            raise RefusedError(f"the list does not continue in the namespace {first}: start again without a cursor")
        left = places[places.index(first) :]
        found: list[JSONObject] = []
        for at, place in enumerate(left, 1):
            page = await self._store.page(
                place, limit=limit - len(found), label_selector=label_selector, continue_token=token or None
            )
            found += page.items
            if page.continue_token is not None:
                return ObjectPage(found, f"{place}/{page.continue_token}")
            token = ""
            if len(found) >= limit:
                return ObjectPage(found, f"{left[at]}/" if at < len(left) else None)
        return ObjectPage(found, None)

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        check_served(self._scope, namespace)
        return await self._store.replace(namespace, name, body)

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        check_served(self._scope, namespace)
        return await self._store.patch(namespace, name, patch)

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object and, in the background, its Jobs; with a version only if it has not changed."""
        check_served(self._scope, namespace)
        await self._store.delete(namespace, name, resource_version)

    def _places(self, namespace: str | None) -> tuple[str | None, ...]:
        if namespace is None:
            return self._scope.places
        check_served(self._scope, namespace)
        return (namespace,)


class ServedHistory:
    """``HistoryReader`` limited to the served namespaces; other releases may share the database.

    A query for another namespace raises ``NotServedError``.
    """

    def __init__(self, history: HistoryReader, scope: Scope) -> None:
        """Take the history and the namespaces."""
        self._history = history
        self._scope = scope

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        record = await self._history.get(uid)
        if not self._scope.holds(record.namespace):
            raise NotFoundError(f"execution {uid} not found")
        return record

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions, newest first, without their attempts."""
        if query.namespace is not None:
            check_served(self._scope, query.namespace)
            return await self._history.list(query)
        return await self._history.list(replace(query, namespaces=self._scope.namespaces))

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count the executions of some namespaces, or of all served namespaces."""
        for namespace in namespaces:
            check_served(self._scope, namespace)
        return await self._history.summary(since, namespaces or self._scope.namespaces)

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; otherwise raise ``UnavailableError``."""
        await self._history.ping()


class ServedReports:
    """``HistoryReports`` limited to the served namespaces; a query for another one raises ``NotServedError``."""

    def __init__(self, reports: HistoryReports, scope: Scope) -> None:
        """Take the reports and the namespaces."""
        self._reports = reports
        self._scope = scope

    async def statistics(self, query: ReportQuery, latest: int) -> Statistics:
        """Return the figures of a range, and its newest executions."""
        return await self._reports.statistics(self._served(query), latest)

    async def marks(self, query: ReportQuery, limit: int) -> Sequence[Mark]:
        """Return the newest executions of a range, newest slot first."""
        return await self._reports.marks(self._served(query), limit)

    async def buckets(self, query: ReportQuery, seconds: int) -> BucketCounts:
        """Count the executions of a range in buckets."""
        return await self._reports.buckets(self._served(query), seconds)

    async def mean_seconds(self, query: ReportQuery) -> Mapping[tuple[str, str], float]:
        """Return the mean duration of each task."""
        return await self._reports.mean_seconds(self._served(query))

    def _served(self, query: ReportQuery) -> ReportQuery:
        if query.namespace is None:
            return replace(query, namespaces=self._scope.namespaces)
        check_served(self._scope, query.namespace)
        return query


class ServedAudit:
    """``AuditLog`` limited to the served namespaces."""

    def __init__(self, log: AuditLog, scope: Scope) -> None:
        """Take the log and the namespaces."""
        self._log = log
        self._scope = scope

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; an event that exists is left unchanged."""
        await self._log.write(events)

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events, newest first; a query for another namespace raises ``NotServedError``."""
        if query.namespace is not None:
            check_served(self._scope, query.namespace)
            return await self._log.list(query)
        return await self._log.list(replace(query, namespaces=self._scope.namespaces))

    async def authors(self, query: AuditQuery) -> Sequence[AuditAuthor]:
        """Return who made the generations of the objects in a page; a query must name a served namespace."""
        if query.namespace is not None:
            check_served(self._scope, query.namespace)
            return await self._log.authors(query)
        return await self._log.authors(replace(query, namespaces=self._scope.namespaces))


class ServedPast:
    """``TaskPast`` limited to the served namespaces; a call for another one raises ``NotServedError``."""

    def __init__(self, past: TaskPast, scope: Scope) -> None:
        """Take the past and the namespaces."""
        self._past = past
        self._scope = scope

    async def revisions(self, query: RevisionQuery) -> RevisionPage:
        """Return a page of revisions, newest first."""
        check_served(self._scope, query.namespace)
        return await self._past.revisions(query)

    async def rules(self, namespace: str, task: str) -> Sequence[TaskRevision]:
        """Return all revisions of the tasks with a name, newest first, without their specs."""
        check_served(self._scope, namespace)
        return await self._past.rules(namespace, task)

    async def row_of(self, namespace: str, task: str, slot: datetime) -> ExecutionRecord | None:
        """Return the row of a slot, or the one that covers it."""
        check_served(self._scope, namespace)
        return await self._past.row_of(namespace, task, slot)
