"""The operator's view of the cluster, in memory: a shelf for each kind. For use from one event loop."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from carillon_core.contract import Cause
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.observed.jobs import (
    ObservedJob,
    ObservedRequest,
    ObservedTarget,
    ObservedTask,
    job_key,
    own_key_name,
    request_key,
)
from carillon_core.ports import ObjectKind
from carillon_operator.guard.guard import Guard
from carillon_operator.state.agenda import Agenda
from carillon_operator.state.job_shelf import JobShelf
from carillon_operator.state.shelf import Shelf, Status
from carillon_operator.state.target_shelf import TargetShelf
from carillon_operator.state.work_queue import Key

WithStatus = Literal["ScheduledTask", "RunRequest"]


class AnyShelf(Protocol):
    """The interface of the shelves of all kinds."""

    def put(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Take an object from the API server; return the keys to reconcile."""
        ...

    def drop(self, name: Key, uid: str) -> Sequence[Key]:
        """Forget a deleted object; return the keys to reconcile."""
        ...

    def uids(self) -> dict[Key, str]:
        """Return the uid of each object by its namespace and name."""
        ...


class StatusShelf(AnyShelf, Protocol):
    """The interface of the shelves of objects with a status."""

    def sending(self, name: Key, status: Status) -> None:
        """Remember a status that is about to be written."""
        ...

    def sent(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Remember that our status was written; return the keys to reconcile."""
        ...

    def adopt(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Take an object with the status that the API server has; return the keys to reconcile."""
        ...


class ObservedStore:
    """The operator's view of the cluster.

    Attributes:
        agenda: Which requests need a turn.
        guard: Keeps one object from stopping the operator.
        targets: The HTTPTargets.
        tasks: The ScheduledTasks.
        requests: The RunRequests.
        jobs: The runner Jobs.

    """

    def __init__(self, guard: Guard | None = None) -> None:
        """Start empty; without a guard, with one that keeps its notes in memory."""
        self.guard = guard = guard or Guard.in_folder(None)
        self.agenda = Agenda()
        self.targets = TargetShelf(guard.parsed("HTTPTarget", ObservedTarget.from_object))
        self.tasks = Shelf(
            "ScheduledTask", guard.parsed("ScheduledTask", ObservedTask.from_object), _task_key, self.targets
        )
        self.requests = Shelf(
            "RunRequest",
            guard.parsed("RunRequest", _request_in_memory),
            request_key,
            self.targets,
            self.agenda,
        )
        self.jobs = JobShelf(self._touch_request)
        self._status_shelves: Mapping[WithStatus, StatusShelf] = {
            "ScheduledTask": self.tasks,
            "RunRequest": self.requests,
        }
        self._shelves: Mapping[ObjectKind, AnyShelf] = {
            "ScheduledTask": self.tasks,
            "RunRequest": self.requests,
            "HTTPTarget": self.targets,
        }

    def shelf(self, kind: ObjectKind) -> AnyShelf:
        """Return the shelf of a kind."""
        return self._shelves[kind]

    def status_shelf(self, kind: WithStatus) -> StatusShelf:
        """Return the shelf of a kind whose objects have a status."""
        return self._status_shelves[kind]

    def all_keys(self) -> set[Key]:
        """Return every key that has something to reconcile."""
        return {*self.tasks.keys(), *self.requests.keys(), *self.jobs.index.keys()}

    def forget_decisions(self) -> None:
        """Go back to the statuses that the API server has: a decision that was not written does not count."""
        self.agenda.clear()
        self.tasks.forget_decisions()
        self.requests.forget_decisions()

    def job_of(self, request: ObservedRequest) -> ObservedJob | None:
        """Return the Job that was launched for a request, if it is known."""
        name = self.jobs.index.of_request(request.meta.namespace, request.meta.uid)
        return None if name is None else self.jobs.get(*name)

    def believes(self, job: ObservedJob) -> bool:
        """Return whether the owner of a Job is, or was, known in the Job's own namespace.

        The uids in a Job are whatever its author wrote. An execution's id
        derives from them, so a Job that is not believed could take the slot of
        a task of another namespace.
        """
        owners = self.requests if job.cause is Cause.MANUAL else self.tasks
        return owners.knew(job.namespace, job.origin)

    def learn_owner(self, row: ExecutionRecord) -> None:
        """Learn from a row of the history whose Jobs may exist, although the task or request may be gone."""
        owners = self.requests if row.cause is Cause.MANUAL else self.tasks
        owners.departed.learn(row.namespace, row.origin or row.task_uid)

    def _touch_request(self, uid: str) -> None:
        """Have the agenda look at a request whose Job has changed."""
        name = self.requests.name_of(uid)
        if name is not None:
            self.requests.touch(name)

    def keys_of_execution(self, entry: ExecutionRecord | Closing) -> list[Key]:
        """Return the keys under which an execution's task, or requests of that name, are reconciled."""
        keys = [(entry.namespace, name) for name in (entry.task, own_key_name(entry.task))]
        tasks, requests = self.tasks.keys(), self.requests.keys()
        return [key for key in keys if key in tasks or key in requests or self.jobs.index.has(key)]

    def forget_deleted(self, job: ObservedJob) -> None:
        """Forget a Job that was deleted while it was active, once the task or request that it belongs to is gone."""
        if self.jobs.was_deleted(job):
            owners = self.tasks.uids_under(job_key(self.jobs.raw_of(job)["metadata"])) or {""}
            if job.origin not in owners and self.requests.name_of(job.origin) is None:
                self.jobs.drop((job.namespace, job.name), job.uid)


def _request_in_memory(raw: Mapping[str, Any], quarantined: str = "") -> ObservedRequest:
    """Return a request as it is kept: thousands of finished ones may stay for hours, each with a large spec."""
    return ObservedRequest.from_object(raw, quarantined).lean()


def _task_key(task: ObservedTask) -> Key:
    return task.meta.namespace, task.meta.name
