"""Which objects this operator decides about if several share the tasks.

Every operator sees everything, and several may own parts of one key. Names and
unique keys ensure that something that two operators own for a moment is done
only once. An object without an owner would be lost, so each object has exactly
one owner at any time, and operators that see the same objects agree on it.
"""

from collections.abc import Sequence

from carillon_core.contract import Cause
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask, request_key
from carillon_core.domain.scope import Scope
from carillon_core.domain.shard import Shard
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import Key


class Ownership:
    """The part of the observed objects that a shard owns."""

    def __init__(self, shard: Shard, store: ObservedStore, scope: Scope | None = None) -> None:
        """Take the shard, the store with everything observed, and the served namespaces (default: all)."""
        self._shard = shard
        self._store = store
        self._scope = scope or Scope()
        self.unseen: set[str] = set()
        """The served namespaces that cannot be read; nothing in them is decided."""

    def task(self, key: Key) -> ObservedTask | None:
        """Return the task of a key if it is ours."""
        task = None if key[0] in self.unseen else self._store.tasks.get(key)
        return task if task is not None and self._shard.owns(task.meta.uid) else None

    def request(self, key: Key, name: tuple[str, str]) -> ObservedRequest | None:
        """Return a request if it is reconciled under a key, and ours."""
        request = None if key[0] in self.unseen else self._store.requests.get(name)
        if request is None or request_key(request) != key:
            return None
        return request if self._owns_request(key, request) else None

    def jobs_of(self, key: Key) -> Sequence[ObservedJob]:
        """Return the Jobs of a key whose ends this operator records."""
        return [job for job in self._store.jobs.under(key) if self.owns_job(key, job)]

    def owns_job(self, key: Key, job: ObservedJob) -> bool:
        """Return whether this operator records the end of a Job: it owns the Job's task or request."""
        if self._shard.owns(job.task_uid):
            return True
        name = self._store.requests.name_of(job.origin) if job.cause is Cause.MANUAL else None
        return name is not None and self.request(key, name) is not None

    def owns_row(self, row: ExecutionRecord) -> bool:
        """Return whether this operator may close a row; other releases may serve other namespaces."""
        return self._scope.holds(row.namespace) and row.namespace not in self.unseen and self._shard.owns(row.task_uid)

    def _owns_request(self, key: Key, request: ObservedRequest) -> bool:
        """Return whether a request is ours: by the task that it was launched for, else by the task that it names.

        A request with its own task, or whose task does not exist, goes by its own uid.
        """
        if request.stored.task_uid is not None:
            return self._shard.owns(request.stored.task_uid)
        task = self._store.tasks.get(key) if request.task_name is not None else None
        return self._shard.owns(request.meta.uid if task is None else task.meta.uid)
