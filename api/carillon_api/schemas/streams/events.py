"""The stream of changes: its query parameters, and the data of each event."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from carillon_api.schemas.answers import Answer, Parameters, StatusField
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.contract import Cause
from carillon_core.resources.base import Time

MOST_NAMESPACES = 20
"""How many namespaces one stream may name: each needs two access reviews, twice a minute."""
MOST_CURSOR = 64


class EventsQuery(Parameters):
    """Which changes to stream."""

    namespace: list[NamespaceName] = Field(default_factory=list, max_length=MOST_NAMESPACES)
    """Only changes in these namespaces, at most 20. Default: all namespaces in which the caller may list tasks and
    executions. If the API serves all namespaces and the caller may not list them all, name some."""
    task: TaskName | None = None
    """Only changes to tasks with this name, and to their executions."""
    after: str | None = Field(default=None, max_length=MOST_CURSOR)
    """The ID of the last event received. The header Last-Event-ID takes precedence."""


class ReadyData(Answer):
    """``ready``: all changes from now on are sent. Read the lists now, unless the stream has resumed."""

    resumed: bool
    """Whether everything after the given ID follows."""


class ExecutionData(Answer):
    """``execution``: an execution was recorded or has changed."""

    id: UUID
    namespace: str
    task: str
    slot: Time
    cause: Cause
    status: StatusField
    reason: str | None
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class TaskData(Answer):
    """``task``: a task was created, deleted, or has changed in its spec, labels or status."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleted: bool


class ResetData(Answer):
    """``reset``: changes may be missing. Read the lists again."""

    reason: str
    message: str


class SourceData(Answer):
    """``degraded``: changes from a source are delayed. ``recovered``: they are no longer delayed."""

    source: str
    """executions or tasks."""
    namespace: str | None
    """The namespace whose tasks are affected; null for all."""
    message: str | None


class EndData(Answer):
    """``end``: the last event of a stream. Its reason says whether to connect again."""

    reason: str
    message: str
