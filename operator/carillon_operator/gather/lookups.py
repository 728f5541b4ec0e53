"""Asks the API server for objects that a decision depends on and that no event has shown yet.

A watch or a list may lag behind. Where the absence of an object would decide
about a slot or a request, the reconciler asks here first.
"""

from carillon_core.domain.execution import later_job_names
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget, ObservedTask
from carillon_core.errors import NotFoundError
from carillon_core.ports import JobReader, ObjectSource
from carillon_operator.state.observed_pods import JobName
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import Key

MOST_ASKED = 8
"""The deleted Jobs that one turn asks about: a tenant may create and delete any number."""


class Lookups:
    """Reads single objects and keeps them in the store."""

    def __init__(self, objects: ObjectSource, jobs: JobReader, store: ObservedStore) -> None:
        """Take the API server to ask and the store that keeps the answers."""
        self._objects = objects
        self._jobs = jobs
        self._store = store

    async def has_job(self, namespace: str, name: str) -> bool:
        """Return whether a Job that is not in the store exists as one of ours; it is in the store then."""
        try:
            raw = await self._jobs.get_job(namespace, name)
        except NotFoundError:
            return False
        return self._store.jobs.put(raw) is not None

    async def ends_of_deleted(self, key: Key) -> bool:
        """Ask the API server about Jobs that seem to be gone and whose end was not seen, and keep its answers.

        Returns:
            Whether there are more of them, for another turn: ``MOST_ASKED`` are asked about in one.

        """
        for name, job in self._waiting(key)[:MOST_ASKED]:
            if (name[0], job.uid) in self._store.jobs.strays:
                await self.has_job(*name)
            # its Job may have been deleted because another attempt has followed
            if not await self.later_attempt(job):
                for pod in await self._jobs.pods_of_job(name[0], job.uid):
                    self._store.jobs.put_pod(pod)
            self._asked(key, name)
        return bool(self._waiting(key))

    def _waiting(self, key: Key) -> list[tuple[JobName, ObservedJob]]:
        """Return the Jobs of a key to ask about, and forget those that are not known any more.

        A Job whose owner is not known has no end to record. It waits, without being asked about, until the owner is.
        """
        known = list[tuple[JobName, ObservedJob]]()
        for name in sorted(self._store.jobs.unasked.get(key, ())):
            job = self._store.jobs.get(*name)
            if job is None:
                self._asked(key, name)
            elif self._store.believes(job):
                known.append((name, job))
        return known

    def _asked(self, key: Key, name: JobName) -> None:
        names = self._store.jobs.unasked.get(key, set())
        names.discard(name)
        if not names:
            self._store.jobs.unasked.pop(key, None)

    async def later_attempt(self, job: ObservedJob) -> bool:
        """Return whether the execution of a Job has a later attempt; the store has it then."""
        if job.retries is None:
            return False
        later = later_job_names(job.first_name, job.slot, job.cause, job.number)[: job.retries.policy.limit]
        for name in await self._jobs.existing_jobs(job.namespace, job.task_uid, later):
            if await self.has_job(job.namespace, name):
                return True
        return False

    async def target(self, namespace: str, name: str) -> ObservedTarget | None:
        """Return an HTTPTarget, or None if it does not exist."""
        known = self._store.targets.get(namespace, name)
        if known is not None:
            return known
        try:
            self._store.targets.put(await self._objects.get_object("HTTPTarget", namespace, name))
        except NotFoundError:
            return None
        return self._store.targets.get(namespace, name)

    async def newer_task(self, key: Key, task: ObservedTask) -> bool:
        """Return whether the API server has a newer version of a ScheduledTask, or none; the store has it then."""
        try:
            raw = await self._objects.get_object("ScheduledTask", *key)
        except NotFoundError:
            self._store.tasks.drop(key, task.meta.uid)
            return True
        if raw["metadata"]["resourceVersion"] == task.meta.resource_version:
            return False
        self._store.tasks.put(raw)
        return True

    async def task(self, key: Key) -> None:
        """Have a ScheduledTask in the store if it exists."""
        if self._store.tasks.get(key) is None:
            try:
                self._store.tasks.put(await self._objects.get_object("ScheduledTask", *key))
            except NotFoundError:
                return
