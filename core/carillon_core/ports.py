"""What the apps need of the outside, as Protocols of a few methods each.

Adapters in ``carillon_core.adapters`` implement them: ``kube`` and
``postgres`` for life, ``memory`` for tests, all held to the same contract
tests in ``tests/contract``. Every method is a coroutine and may raise
``UnavailableError``; what else it raises is said where it is.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.domain.decision.plan import Notice
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.resources.meta import ObjectMeta

JSONObject = dict[str, Any]
ObjectKind = Literal["ScheduledTask", "RunRequest", "HTTPTarget"]


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A part of a list of objects, and the API server's own token of the next part if there is one."""

    items: Sequence[JSONObject]
    continue_token: str | None


class ObjectStore(Protocol):
    """The objects of one kind of ours in the API server, raw; the facade's side."""

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server refused it.
            NotFoundError: There is no such namespace.

        """
        ...

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        ...

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all, ordered by namespace and name."""
        ...

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects, in the API server's order, from where the page before ended.

        Raises:
            ExpiredError: The token is too old: begin anew.
            RefusedError: The token or the selector cannot be read.

        """
        ...

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        ...

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        ...

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object, and in the background its Jobs; with a version only if it has not changed."""
        ...

    async def ping(self) -> None:
        """Return if the API server answers; raise ``UnavailableError`` if not."""
        ...


class CallerCluster(Protocol):
    """The cluster as one caller sees it: every call is made as that subject, so that RBAC alone decides.

    Every method may raise ``ForbiddenError``, with the API server's reason.
    """

    def objects(self, kind: ObjectKind) -> ObjectStore:
        """Return the objects of a kind of ours."""
        ...

    async def review(self, access: Access) -> Decision:
        """Return whether the caller may do that, by the cluster's own authorisation (SubjectAccessReview)."""
        ...

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job and in the background its pods, provided that it is still the same object.

        Raises:
            NotFoundError: The Job is gone, or another of its name took its place.

        """
        ...

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods that a selector selects."""
        ...

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return what a pod's container has said, at most ``limit_bytes`` of it.

        Raises:
            NotFoundError: There is no such pod.
            RefusedError: The container has not begun, or the node does not know it.

        """
        ...


class APIServer(Protocol):
    """The cluster as the facade itself sees it: whom it lets in, and as whom it calls.

    Where the cluster refuses the facade's own account, here or in acting as somebody, ``OwnAccountError`` is raised.
    """

    def acting_as(self, subject: Subject | None) -> CallerCluster:
        """Return the cluster as a subject sees it; as the facade's own account if it is None."""
        ...

    async def review_token(self, token: str) -> Subject | None:
        """Return whose bearer token it is, or None if it is nobody's (TokenReview)."""
        ...

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``."""
        ...

    async def ping(self) -> None:
        """Return if the API server answers and serves our kinds; raise ``UnavailableError`` if not."""
        ...


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a runner Job or of one of its pods; ``object`` is the raw object."""

    type: Literal["LISTING", "ADDED", "MODIFIED", "DELETED", "SYNCED"]
    """``LISTING`` opens a (re)list and ``SYNCED`` closes it: what was not named in between is gone."""
    kind: Literal["Job", "Pod"]
    object: Mapping[str, Any]
    namespace: str | None = None
    """Of ``LISTING`` and ``SYNCED``: of which namespace the list is; None means of all."""


class Cluster(Protocol):
    """The operator's side of the API server: launch, watch, report."""

    def watch_jobs(self, kind: Literal["Job", "Pod"], namespace: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield Carillon's Jobs (or pods) of a namespace, or of all, for ever; survives lost connections.

        It begins with a list.

        Raises:
            ForbiddenError: They may not be read; of one namespace only. Those of all are tried until they may.

        """
        ...

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[tuple[str, str], str]:
        """Return the uid of every object of a kind there is now, in a namespace or in all, by namespace and name."""
        ...

    def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every object of a kind there is now, in a namespace or in all, in any order.

        None of them is as it was before this was called.

        Raises:
            ExpiredError: It took so long that the API server lost the thread: begin anew.
            ForbiddenError: They may not be read.

        """
        ...

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        ...

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored.

        Raises:
            AlreadyExistsError: A Job of that name exists, ours or not: ``get_job`` tells.
            RefusedError: The API server, a quota or a webhook refused it.
            ForbiddenError: The operator lacks the permission.
            NotFoundError: The namespace is gone.

        """
        ...

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str, *, after_pods: bool) -> None:
        """Delete a Job, provided that it is still the same object.

        Args:
            namespace: The Job's namespace.
            name: The Job's name.
            uid: The Job's uid.
            after_pods: Let the Job stay until its pods have ended and are gone; else it goes at once, they follow.

        Raises:
            NotFoundError: The Job is gone, or another of its name took its place.

        """
        ...

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, by the Job's uid: what the Job controller's Events say.

        One look at a namespace's Events, however many Jobs are asked about. Events are forgotten, after an hour as a
        rule; a Job of which none is left, or that was refused nothing, is not in the answer.

        Raises:
            ForbiddenError: Events of that namespace may not be listed.
            ExpiredError: It took so long that the API server lost the thread: begin anew.

        """
        ...

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has at this moment, as the API server knows them and no watch may yet."""
        ...

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, provided that nobody changed the object since this version, and return the object.

        Raises:
            NotFoundError: The object is gone, or another of its name took its place.
            ConflictError: It has another ``resourceVersion`` than ``meta`` says, if that says one.

        """
        ...

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and in the background its Job; ``NotFoundError`` if it is gone."""
        ...

    async def post_event(
        self, meta: ObjectMeta, notice: Notice, now: datetime, kind: ObjectKind = "ScheduledTask"
    ) -> None:
        """Post an Event about an object. Best effort: Events are for people."""
        ...

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update the Secret that runner pods of a namespace read."""
        ...


class Leases(Protocol):
    """Kubernetes' Leases (``coordination.k8s.io/v1``), raw: by them processes agree on who of them leads."""

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a Lease, or raise ``NotFoundError``."""
        ...

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a Lease and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server refused it.
            NotFoundError: There is no such namespace.

        """
        ...

    async def update(self, lease: JSONObject) -> JSONObject:
        """Replace a Lease as it was read, and return it as stored.

        Raises:
            ConflictError: It is not as it was read any more, or is another of its name.
            RefusedError: The API server refused it.
            NotFoundError: It is gone.

        """
        ...


class RunnerKeys(Protocol):
    """Where the keys are known that sign the tokens of executions."""

    async def register(self, key: TokenKey) -> None:
        """Have a key known, so that runners with its tokens may record; one that is used no more is forgotten in time.

        Raises:
            UnavailableError: It is out of reach: runners wait.

        """
        ...


class HistoryRecorder(Protocol):
    """The operator's side of the history."""

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; one whose id, or origin, slot and cause, is there already is left as it is.

        An id has one slot, being made of it (``execution_id``): no row of another slot is compared. An attempt of a row
        that was there is added if the row is open and has none of that number.

        Raises:
            ValueError: A row makes no sense; nothing was recorded.

        """
        ...

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """End executions that are still open; return the ids of those that were.

        An attempt that still runs ends as its execution does: same status, reason, message and time. A closing whose
        row does not exist changes nothing.
        """
        ...

    async def open_executions(self) -> Sequence[ExecutionRecord]:
        """Return the rows that are not in a terminal state, oldest first, without their attempts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions to list; None means any. Newest slot first."""

    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only those of these namespaces; empty means of any."""
    task: str | None = None
    status: ExecutionStatus | None = None
    cause: Cause | None = None
    reason: str | None = None
    """The gate that stopped it, or the class of its failure: ``http_5xx``, ``PodLost``."""
    since: datetime | None = None
    """Only slots at or after this."""
    until: datetime | None = None
    """Only slots before this."""
    retry_of: UUID | None = None
    """Only those that repeat this execution."""
    dead_letters: bool = False
    """Only those that failed or timed out, and that nobody has repeated: a repetition that was skipped or missed is
    none, nor is what another namespace says of itself."""
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the page before."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions, and the cursor of the next one if there is one."""

    items: Sequence[ExecutionRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySummary:
    """What happened lately, counted; and the state of the history itself."""

    since: datetime
    """Executions with a slot at or after this are counted."""
    by_status: Mapping[ExecutionStatus, int]
    running: int
    """All that run, whenever their slot was."""
    dead_letters: int
    """Dead letters with a slot at or after ``since``."""
    maintained_at: datetime | None
    """When the maintenance of the history last succeeded; None if it never did."""
    maintenance_error: str | None
    """Why the last try failed, if it did."""
    partitions: int
    """How many months the history holds."""


class HistoryReader(Protocol):
    """The facade's side of the history."""

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        ...

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions by keyset on (slot, id), newest first, without their attempts.

        Raises:
            InvalidResourceError: If the cursor is none of ours.

        """
        ...

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count executions, of some namespaces or, if there are none, of all."""
        ...

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; raise ``UnavailableError`` if not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change that somebody made through the facade."""

    id: UUID
    at: datetime
    subject: str
    """Who: the name of the caller as the cluster knows it."""
    credential: str
    """How the caller showed who it is: ``token``, or ``api-key:`` and the key's name."""
    source: str
    """From where: the peer's address."""
    user_agent: str
    request_id: str
    action: str
    """What: ``create``, ``update``, ``delete``, ``suspend``, ``resume``, ``run``, ``retry``, ``cancel``."""
    resource: str
    """Of which kind: ``scheduledtasks``, ``httptargets``, ``runrequests``, ``executions``."""
    namespace: str
    name: str
    before: JSONObject | None
    """The spec and labels before; None if there was nothing."""
    after: JSONObject | None
    """The spec and labels since; None if there is nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which audit events to list; None means any. Newest first."""

    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only of objects in these namespaces; empty means in any."""
    resource: str | None = None
    name: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the page before."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of audit events, and the cursor of the next one if there is one."""

    items: Sequence[AuditEvent]
    next_cursor: str | None


class AuditLog(Protocol):
    """What was changed through the facade, and by whom."""

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; one that is there already is left as it is."""
        ...

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events by keyset on (at, id), newest first; errors as ``HistoryReader.list``'s."""
        ...


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that was given once and is given again to whoever repeats the request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is known of an idempotency key: who asks first has it, everybody else finds what the first one left."""

    mine: bool
    """The caller is the first, or whoever was first has given up: it shall go on, and ``finish`` or ``release``."""
    same_request: bool = True
    """Whether the key was first used with this very request."""
    answer: StoredAnswer | None = None
    """What the first request was answered; None while it is under way."""


KEY_KEPT = timedelta(days=1)
"""How long an idempotency key is remembered, from its first use."""
KEY_ABANDONED = timedelta(seconds=60)
"""After so long without an answer whoever reserved a key is thought dead, and the same request may take it over."""


class IdempotencyStore(Protocol):
    """The keys by which callers make a POST safe to repeat."""

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Take a key for a request, or say what is known of it.

        Of any number of simultaneous callers one alone is told ``mine``. A key is forgotten after ``KEY_KEPT``, and
        taken over by the same request if it had no answer for ``KEY_ABANDONED``.
        """
        ...

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Keep the answer for whoever repeats the request; a key that has its answer, or is unknown, stays as it is."""
        ...

    async def release(self, caller: str, key: str) -> None:
        """Give a key back: nothing was done with it. One that has its answer keeps it."""
        ...
