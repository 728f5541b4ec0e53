"""Finds out why Jobs have no pod. When the API server refuses a pod, only Events about the Job tell why.

``Application`` reports each Job that it sees. As long as every Job soon has its
pod, nothing is read. A reason that is found becomes a ``PodTrouble`` of the Job
in the store; ``decide`` does the rest.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from carillon_core.domain.decision.stuck import LOOK_AGAIN, begun_at, first_look, given_up, hopeless, next_look
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.domain.observed.pod_trouble import refused_pod
from carillon_core.errors import CarillonError, ForbiddenError
from carillon_core.logs import get_logger
from carillon_core.ports import JobReader
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import WorkQueue

log = get_logger(__name__)

RETRY_SECONDS = 15.0
FORBIDDEN_RETRY_SECONDS = 300.0
HINT = "allow the operator's role to list events, see charts/carillon/files/rbac/operator.yaml"


class RefusedPods:
    """Reads the Events of namespaces where a Job has had no pod for too long.

    One read covers all such Jobs of a namespace, and reads of a namespace are at
    least ``LOOK_AGAIN`` apart, so a thousand refused Jobs cost little more than
    one.
    """

    def __init__(
        self,
        cluster: JobReader,
        view: View,
        clock: Callable[[], datetime],
    ) -> None:
        """Take where to read, and the Jobs and the queue of keys to reconcile."""
        self._cluster = cluster
        self._view = view
        self._jobs = view.store.jobs
        self._clock = clock
        self._due = WorkQueue(clock)
        self._looked: dict[str, datetime] = {}
        self._forbidden: set[str] = set()

    def expect(self, job: ObservedJob) -> None:
        """Schedule a read of the Events if a Job has no pod."""
        if job.namespace in self._forbidden or not self._jobs.lacks_pod(job):
            return
        when = self._spaced(job.namespace, first_look(job))
        due = self._due.due_time(_key(job.namespace))
        if due is None or when < due:
            self._due.add_at(_key(job.namespace), when)

    def due_time(self, namespace: str) -> datetime | None:
        """Return when the Events of a namespace are read next, or None if no read is scheduled."""
        return self._due.due_time(_key(namespace))

    def processes(self) -> list[Coroutine[None, None, None]]:
        """Return the coroutines that read, for ever; run them together. They start with the known Jobs."""
        for _, job in self._jobs.without_pod():
            self.expect(job)
        return [self._due.run_sleeper(), self._run_worker()]

    async def _run_worker(self) -> None:
        while True:
            key = await self._due.take()
            try:
                await self.look(key[0])
                self._forbidden.discard(key[0])
            except ForbiddenError as error:
                self._say_forbidden(key[0], error)
                self._due.add_after(key, FORBIDDEN_RETRY_SECONDS)
            except CarillonError as error:
                log.info("refused pods not read, trying again", **_fields(key[0], error))
                self._due.add_after(key, RETRY_SECONDS)
            except Exception as error:  # a bug in one namespace must not stop the others
                log.exception("reading refused pods failed", **_fields(key[0], error))
                self._due.add_after(key, RETRY_SECONDS)
            finally:
                self._due.done(key)

    async def look(self, namespace: str) -> None:
        """Find out why our Jobs of a namespace have no pod, if they are old enough; schedule the next read.

        Raises:
            CarillonError: The Events could not be read.

        """
        now = self._clock()
        old = [job for job in self._lacking(namespace) if first_look(job) <= now]
        if old:
            self._looked[namespace] = now
            refusals = await self._cluster.pod_refusals(namespace, {job.uid for job in old})
            for job in old:
                trouble = refused_pod(refusals.get(job.uid, ()), begun_at(job), now, job.trouble)
                if trouble is None or (hopeless(trouble, now) and not given_up(job) and await self._has_pod(job)):
                    continue
                change = self._jobs.refuse_pod(job, trouble)
                if change is not None:
                    self._view.queue.add(change.key)
        lacking = self._lacking(namespace)
        if not lacking:
            self._looked.pop(namespace, None)
        else:
            when = min(next_look(job, now) for job in lacking)
            self._due.add_at(_key(namespace), self._spaced(namespace, when))

    def _spaced(self, namespace: str, when: datetime) -> datetime:
        """Return the earliest time for a read: not too soon after the last one, even if the clock was set back."""
        last = self._looked.get(namespace)
        return when if last is None else max(when, min(last, self._clock()) + LOOK_AGAIN)

    def _lacking(self, namespace: str) -> list[ObservedJob]:
        if namespace in self._view.ownership.unseen:
            return []
        found = self._jobs.without_pod(namespace)
        return [job for key, job in found if self._view.ownership.owns_job(key, job)]

    async def _has_pod(self, job: ObservedJob) -> bool:
        """Ask for the pods of a Job that is about to be given up, since the watch may lag."""
        pods = await self._cluster.pods_of_job(job.namespace, job.uid)
        for pod in pods:
            change = self._jobs.put_pod(pod)
            if change is not None:
                self._view.queue.add(change.key)
        return bool(pods)

    def _say_forbidden(self, namespace: str, error: ForbiddenError) -> None:
        if namespace not in self._forbidden:
            log.warning(
                "cannot read why pods are refused, their Jobs end at their deadline",
                **_fields(namespace, error),
                hint=HINT,
            )
        self._forbidden.add(namespace)


def _key(namespace: str) -> tuple[str, str]:
    """Return a namespace as a key of the work queue."""
    return namespace, ""


def _fields(namespace: str, error: Exception) -> dict[str, Any]:
    return {"namespace": namespace, "why": str(error)}
