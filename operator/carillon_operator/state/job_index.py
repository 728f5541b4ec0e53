"""Where the Jobs of a key and of a request are found, without a look at all of them."""

from collections.abc import Callable, KeysView, Sequence

from carillon_core.contract import Cause
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_operator.state.observed_pods import JobName
from carillon_operator.state.work_queue import Key


class JobIndex:
    """The names of the Jobs by key, and by the request that they were launched for.

    A Job that was launched for a request, has ended and is counted says nothing
    more to its task. It is *retired*: it stays as long as its request does, but
    no turn of the task looks at it, however many there are.

    A Job whose execution has a later attempt is *superseded*: the newest attempt's
    Job tells everything of the execution, and nothing else looks at the others.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        """Start empty; take what learns of each change of a request's Job, by the request's uid."""
        self._changed = changed
        self._current: dict[Key, dict[JobName, None]] = {}
        self._retired: dict[Key, set[JobName]] = {}
        self._by_request: dict[tuple[str, str], JobName] = {}
        """The Job by namespace and uid of its request: what another namespace's Job claims is of no account."""
        self._newest: dict[tuple[str, str], tuple[int, JobName]] = {}
        """The newest attempt of each execution that may be retried, by namespace and id."""
        self._superseded: set[JobName] = set()

    def keys(self) -> KeysView[Key]:
        """Return the keys that have Jobs."""
        return (self._current | self._retired).keys() if self._retired else self._current.keys()

    def has(self, key: Key) -> bool:
        """Return whether a key has Jobs."""
        return key in self._current or key in self._retired

    def under(self, key: Key) -> Sequence[JobName]:
        """Return the names of a key's Jobs that are not retired."""
        names = self._current.get(key, ())
        return tuple(name for name in names if name not in self._superseded) if self._superseded else tuple(names)

    def superseded(self, key: Key) -> Sequence[JobName]:
        """Return the names of a key's Jobs whose executions have later attempts."""
        return tuple(name for name in self._current.get(key, ()) if name in self._superseded)

    def is_superseded(self, name: JobName) -> bool:
        """Return whether a Job's execution has a later attempt."""
        return name in self._superseded

    def newest(self, job: ObservedJob) -> JobName:
        """Return the name of the Job of the newest attempt of an execution."""
        return self._newest.get((job.namespace, job.execution_id), (0, (job.namespace, job.name)))[1]

    def of_request(self, namespace: str, uid: str) -> JobName | None:
        """Return the name of the Job that was launched for a request, if it is known."""
        return self._by_request.get((namespace, uid))

    def put(self, key: Key, name: JobName, job: ObservedJob) -> None:
        """Learn that a Job is new or has changed."""
        self._forget_retired(key, name)
        self._current.setdefault(key, {})[name] = None
        self._put_attempt(name, job)
        if job.cause is Cause.MANUAL:
            if name not in self._superseded:
                self._by_request[job.namespace, job.origin] = name
            self._changed(job.origin)

    def _put_attempt(self, name: JobName, job: ObservedJob) -> None:
        if job.retries is None:
            return
        place = (job.namespace, job.execution_id)
        known = self._newest.get(place)
        if known is None or known[0] <= job.number:
            self._newest[place] = job.number, name
        if known is not None and known[0] != job.number:
            # for as long as it exists: it does not become the newest again when a later one is deleted
            self._superseded.add(min(known, (job.number, name))[1])

    def drop(self, key: Key, name: JobName, job: ObservedJob) -> None:
        """Learn that a Job is gone."""
        self._forget_retired(key, name)
        self._superseded.discard(name)
        place = (job.namespace, job.execution_id)
        if self._newest.get(place) == (job.number, name):
            del self._newest[place]
        current = self._current.get(key, {})
        current.pop(name, None)
        if not current:
            self._current.pop(key, None)
        if job.cause is Cause.MANUAL:
            if self._by_request.get((job.namespace, job.origin)) == name:
                del self._by_request[job.namespace, job.origin]
            self._changed(job.origin)

    def retire(self, key: Key, name: JobName) -> None:
        """Leave a Job out from now on, until it changes."""
        current = self._current.get(key, {})
        if name in current:
            del current[name]
            if not current:
                del self._current[key]
            self._retired.setdefault(key, set()).add(name)

    def _forget_retired(self, key: Key, name: JobName) -> None:
        retired = self._retired.get(key)
        if retired is not None:
            retired.discard(name)
            if not retired:
                del self._retired[key]
