"""What the apps need of the outside, as Protocols of a few methods each.

Adapters in ``carillon_core.adapters`` implement them: ``kube`` and
``postgres`` for life, ``memory`` for tests, all held to the same contract
tests in ``tests/contract``. Every method is a coroutine and may raise
``UnavailableError``; what else it raises is said where it is.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.plan import Notice
from carillon_core.resources.meta import ObjectMeta

JSONObject = dict[str, Any]
ObjectKind = Literal["ScheduledTask", "RunRequest", "HTTPTarget"]


class TaskStore(Protocol):
    """ScheduledTasks in the API server, as raw objects; the facade's side."""

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create a task and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server refused it.
            NotFoundError: There is no such namespace.

        """
        ...

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a task, or raise ``NotFoundError``."""
        ...

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the tasks of a namespace, or of all, ordered by namespace and name."""
        ...

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace a task; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        ...

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change a task by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        ...

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete a task, and in the background its Jobs; with a version only if it has not changed."""
        ...

    async def ping(self) -> None:
        """Return if the API server answers; raise ``UnavailableError`` if not."""
        ...


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a runner Job or of one of its pods; ``object`` is the raw object."""

    type: Literal["LISTING", "ADDED", "MODIFIED", "DELETED", "SYNCED"]
    """``LISTING`` opens a (re)list and ``SYNCED`` closes it: what was not named in between is gone."""
    kind: Literal["Job", "Pod"]
    object: Mapping[str, Any]


class Cluster(Protocol):
    """The operator's side of the API server: launch, watch, report."""

    def watch_jobs(self, kind: Literal["Job", "Pod"]) -> AsyncIterator[JobEvent]:
        """Yield the Jobs (or the pods) of Carillon for ever, beginning with a list; survives lost connections."""
        ...

    async def uids(self, kind: ObjectKind) -> Mapping[tuple[str, str], str]:
        """Return the uid of every object of a kind there is now, by namespace and name."""
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


class HistoryRecorder(Protocol):
    """The operator's side of the history."""

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; one whose id, or origin, slot and cause, is there already is left as it is.

        An attempt of a row that was there is added if the row is open and has none of that number.

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
    task: str | None = None
    task_uid: str | None = None
    status: ExecutionStatus | None = None
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the page before."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions, and the cursor of the next one if there is one."""

    items: Sequence[ExecutionRecord]
    next_cursor: str | None


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

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; raise ``UnavailableError`` if not."""
        ...
