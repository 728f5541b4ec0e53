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
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        """Start empty; take what learns of each change of a request's Job, by the request's uid."""
        self._changed = changed
        self._current: dict[Key, dict[JobName, None]] = {}
        self._retired: dict[Key, set[JobName]] = {}
        self._by_request: dict[tuple[str, str], JobName] = {}
        """The Job by namespace and uid of its request: what another namespace's Job claims is of no account."""

    def keys(self) -> KeysView[Key]:
        """Return the keys that have Jobs."""
        return (self._current | self._retired).keys() if self._retired else self._current.keys()

    def has(self, key: Key) -> bool:
        """Return whether a key has Jobs."""
        return key in self._current or key in self._retired

    def under(self, key: Key) -> Sequence[JobName]:
        """Return the names of a key's Jobs that are not retired."""
        return tuple(self._current.get(key, ()))

    def of_request(self, namespace: str, uid: str) -> JobName | None:
        """Return the name of the Job that was launched for a request, if it is known."""
        return self._by_request.get((namespace, uid))

    def put(self, key: Key, name: JobName, job: ObservedJob) -> None:
        """Learn that a Job is new or has changed."""
        self._forget_retired(key, name)
        self._current.setdefault(key, {})[name] = None
        if job.cause is Cause.MANUAL:
            self._by_request[job.namespace, job.origin] = name
            self._changed(job.origin)

    def drop(self, key: Key, name: JobName, job: ObservedJob) -> None:
        """Learn that a Job is gone."""
        self._forget_retired(key, name)
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
