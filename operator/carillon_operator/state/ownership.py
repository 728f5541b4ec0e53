"""What an operator decides about, where several share the tasks: the reconciler, the closer and the application ask.

Every operator sees everything: a key may concern several of them, each for its
own part. What both took for theirs for a moment is still done once, by names
and unique keys; what nobody takes for its own would be lost, so each object
has an owner at any time, and it is the same wherever the same objects are seen.
"""

from collections.abc import Sequence

from carillon_core.contract import Cause
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask
from carillon_core.domain.scope import Scope
from carillon_core.domain.shard import Shard
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import Key


class Ownership:
    """A shard's view of what is observed."""

    def __init__(self, shard: Shard, store: ObservedStore, scope: Scope | None = None) -> None:
        """Take the shard, the store with what everybody sees, and the namespaces that are seen to; all if left out."""
        self._shard = shard
        self._store = store
        self._scope = scope or Scope()
        self.unseen: set[str] = set()
        """Those of them that are not known as they are: nothing of theirs is decided about."""

    def task(self, key: Key) -> ObservedTask | None:
        """Return the task of a key if it is ours."""
        task = None if key[0] in self.unseen else self._store.tasks.get(key)
        return task if task is not None and self._shard.owns(task.meta.uid) else None

    def requests_of(self, key: Key) -> Sequence[ObservedRequest]:
        """Return those requests of a key that are ours, oldest first."""
        if key[0] in self.unseen:
            return []
        return [request for request in self._store.requests_of(key) if self._owns_request(key, request)]

    def jobs_of(self, key: Key) -> Sequence[ObservedJob]:
        """Return those Jobs of a key whose ends are ours to record."""
        return [job for job in self._store.jobs.under(key) if self.owns_job(key, job)]

    def owns_job(self, key: Key, job: ObservedJob) -> bool:
        """Return whether the end of a Job is ours to record: with its task, or with the request that asked for it."""
        if self._shard.owns(job.task_uid):
            return True
        return job.cause is Cause.MANUAL and any(r.meta.uid == job.origin for r in self.requests_of(key))

    def owns_row(self, row: ExecutionRecord) -> bool:
        """Return whether a row of the history is ours to close: in other namespaces another release may be at work."""
        return self._scope.holds(row.namespace) and row.namespace not in self.unseen and self._shard.owns(row.task_uid)

    def _owns_request(self, key: Key, request: ObservedRequest) -> bool:
        """Return whether a request is ours: with the task that it was launched for, else with the one that it names.

        One with a task of its own, or whose task is not there, goes by its own uid.
        """
        if request.stored.task_uid is not None:
            return self._shard.owns(request.stored.task_uid)
        task = self._store.tasks.get(key) if request.task_name is not None else None
        return self._shard.owns(request.meta.uid if task is None else task.meta.uid)
