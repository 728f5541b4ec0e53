"""Gather, decide, apply: what happens to one task when its turn comes.

The order of the writes is what makes a crash harmless. The Job comes first:
its name is the slot's lock, and its existence settles the slot even if the
status that says so is never written. Only then the status, which is derived.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decide import decide
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.observed import ObservedTask
from carillon_core.domain.plan import Launch, Notice, Plan, Reason, RecordUnlaunched
from carillon_core.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from carillon_core.ports import Cluster
from carillon_core.resources.base import rfc3339
from carillon_core.resources.names import LABEL_TASK_UID
from carillon_operator.announcer import Announcer
from carillon_operator.observed_store import ObservedStore
from carillon_operator.outbox import Outbox
from carillon_operator.runner_secret import RunnerSecret
from carillon_operator.status_writer import StatusWriter
from carillon_operator.work_queue import Key, WorkQueue

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 30.0
REFUSALS = (RefusedError, ForbiddenError)


@dataclass(frozen=True, slots=True)
class Writers:
    """Where a plan goes, apart from the Jobs."""

    outbox: Outbox
    statuses: StatusWriter
    announcer: Announcer
    secret: RunnerSecret


class Reconciler:
    """Brings each task's Jobs, records and status to where ``decide`` wants them."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: ObservedStore,
        queue: WorkQueue,
        writers: Writers,
        template: RunnerTemplate,
        clock: Callable[[], datetime],
    ) -> None:
        """Take everything that is read from and written to."""
        self._cluster = cluster
        self._store = store
        self._queue = queue
        self._outbox = writers.outbox
        self._statuses = writers.statuses
        self._announcer = writers.announcer
        self._secret = writers.secret
        self._template = template
        self._clock = clock
        self._retries: dict[Key, int] = {}

    async def run_worker(self) -> None:
        """Reconcile what the queue gives, for ever. One task's failure never stops another's turn."""
        while True:
            key = await self._queue.take()
            try:
                await self.reconcile(key)
                self._retries.pop(key, None)
            except UnavailableError as error:
                self._retry(key, str(error), logging.WARNING)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # a defect met by one object must not end the operator
                log.exception("reconcile failed", extra={"fields": {"task": "/".join(key)}})
                self._retry(key, repr(error), logging.ERROR)
            finally:
                self._queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Gather, decide, apply."""
        task = self._store.task(key)
        if task is None:
            self._statuses.forget(key)
            self._queue.add_at(key, None)
            return
        jobs = self._store.jobs_of(key)
        plan = decide(task, jobs, self._clock())
        await self._apply(key, task, plan)

    async def _apply(self, key: Key, task: ObservedTask, plan: Plan) -> None:
        for action in plan.actions:
            if isinstance(action, RecordUnlaunched):
                self._record(task, action)
            else:
                unlaunched = await self._launch(task, action)
                if unlaunched is not None:
                    self._record(task, unlaunched)
                    self._announcer.announce(
                        task.meta, Notice("Warning", unlaunched.reason, unlaunched.message), self._clock()
                    )
        # Decided is decided: the next turn begins from here, whenever the object says so too.
        self._store.set_status(key, task.meta.uid, plan.status)
        if task.meta.deletion_timestamp is None:
            self._statuses.put(key, task.meta, plan.status, task.status)
        for notice in plan.notices:
            log.warning("notice", extra={"fields": _fields(task, reason=notice.reason, why=notice.message)})
            self._announcer.announce(task.meta, notice, self._clock())
        self._queue.add_at(key, plan.requeue_at)
        if plan.actions:  # a launched Job changes what is active
            self._queue.add(key)

    async def _launch(self, task: ObservedTask, launch: Launch) -> RecordUnlaunched | None:
        """Create the slot's Job; return why not, if it is refused for good."""
        manifest = job_manifest(task, launch, self._template)
        name = manifest["metadata"]["name"]
        namespace = task.meta.namespace
        try:
            await self._secret.ensure(namespace)
            job = await self._cluster.create_job(manifest)
        except AlreadyExistsError:
            # An answer that got lost, or an operator before us: carry on. Or somebody else's: refuse.
            try:
                job = await self._cluster.get_job(namespace, name)
            except NotFoundError as error:  # deleted in between: its slot is tried again
                raise UnavailableError("API server", f"Job {name} came and went") from error
            if (job["metadata"].get("labels") or {}).get(LABEL_TASK_UID) != task.meta.uid:
                return _refused(launch, Reason.NAME_TAKEN, f"a Job {name} that is not this task's exists already")
        except NotFoundError:  # the namespace is going, and the task with it
            return _refused(launch, Reason.LAUNCH_REFUSED, f"the namespace {namespace} is gone")
        except REFUSALS as error:
            return _refused(launch, Reason.LAUNCH_REFUSED, f"the API server refused Job {name}: {error}")
        else:
            late = (self._clock() - launch.slot).total_seconds()
            log.info("launched", extra={"fields": _fields(task, job=name, late_ms=round(late * 1000))})
            notice = Notice("Normal", Reason.LAUNCHED, f"launched Job {name} for the slot of {rfc3339(launch.slot)}")
            self._announcer.announce(task.meta, notice, self._clock())
        self._store.put_job(job)
        return None

    def _record(self, task: ObservedTask, action: RecordUnlaunched) -> None:
        now = self._clock()
        row = ExecutionRecord(
            id=action.execution_id,
            task_uid=task.meta.uid,
            namespace=task.meta.namespace,
            task=task.meta.name,
            task_type=task.spec.task.type if task.spec else "",
            slot=action.slot,
            cause=action.cause,
            status=ExecutionStatus(action.status),
            reason=action.reason,
            message=action.message,
            created_at=now,
            finished_at=now,
        )
        self._outbox.put([row])

    def _retry(self, key: Key, why: str, level: int) -> None:
        """Have a key tried again later, ever more rarely."""
        tries = self._retries.get(key, 0)
        self._retries[key] = tries + 1
        delay = min(FIRST_RETRY_SECONDS * 2 ** min(tries, 16), LAST_RETRY_SECONDS)
        fields = {"task": "/".join(key), "why": why, "retry_in_s": delay}
        log.log(level, "not carried out, will try again", extra={"fields": fields})
        self._queue.add_after(key, delay)


def _refused(launch: Launch, reason: Reason, message: str) -> RecordUnlaunched:
    return RecordUnlaunched(
        launch.slot, launch.execution_id, ExecutionStatus.MISSED, reason, message[:1024], launch.cause
    )


def _fields(task: ObservedTask, **more: object) -> dict[str, object]:
    return {"task": f"{task.meta.namespace}/{task.meta.name}", **more}
