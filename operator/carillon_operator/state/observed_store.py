"""The operator's view of the cluster, in memory: a shelf for each kind. For use from one event loop."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask, own_key_name, request_key
from carillon_core.ports import ObjectKind
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
        targets: The HTTPTargets.
        tasks: The ScheduledTasks.
        requests: The RunRequests.
        jobs: The runner Jobs.

    """

    def __init__(self) -> None:
        """Start empty."""
        self.targets = TargetShelf()
        self.tasks = Shelf("ScheduledTask", ObservedTask.from_object, _task_key, self.targets)
        self.requests = Shelf("RunRequest", ObservedRequest.from_object, request_key, self.targets)
        self.jobs = JobShelf()
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
        return {*self.tasks.keys(), *self.requests.keys(), *self.jobs.keys()}

    def forget_decisions(self) -> None:
        """Go back to the statuses that the API server has: a decision that was not written does not count."""
        self.tasks.forget_decisions()
        self.requests.forget_decisions()

    def requests_of(self, key: Key) -> list[ObservedRequest]:
        """Return the requests that are reconciled under a key, oldest first."""
        return sorted(self.requests.under(key), key=lambda r: (r.slot, r.meta.name))

    def keys_of_execution(self, entry: ExecutionRecord | Closing) -> list[Key]:
        """Return the keys under which an execution's task, or requests of that name, are reconciled."""
        keys = [(entry.namespace, name) for name in (entry.task, own_key_name(entry.task))]
        known = (self.tasks.keys(), self.requests.keys(), self.jobs.keys())
        return [key for key in keys if any(key in its_keys for its_keys in known)]

    def forget_deleted(self, job: ObservedJob) -> None:
        """Forget a Job that was deleted while it was active, once the task or request that it belongs to is gone."""
        if self.jobs.was_deleted(job):
            key = self.jobs.key_of(job)
            owners = (self.tasks.uids_under(key) or {""}) | self.requests.uids_under(key)
            if job.origin not in owners:
                self.jobs.drop((job.namespace, job.name), job.uid)


def _task_key(task: ObservedTask) -> Key:
    return task.meta.namespace, task.meta.name
