"""Gather, decide, apply: what happens to one task when its turn comes.

The order of the writes is what makes a crash harmless. The Job comes first:
its name is the slot's lock, and its existence settles the slot even if the
status that says so is never written. Only then the status, which is derived.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decide import after_refusal, decide
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.observed import ObservedTask, observed_job
from carillon_core.domain.plan import Launch, Notice, Plan, Reason, RecordUnlaunched
from carillon_core.domain.status import with_condition
from carillon_core.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from carillon_core.ports import Cluster, JSONObject
from carillon_core.resources.base import rfc3339
from carillon_operator.announcer import Announcer
from carillon_operator.closer import Closer
from carillon_operator.observed_store import ObservedStore
from carillon_operator.outbox import Outbox
from carillon_operator.runner_secret import RunnerSecret
from carillon_operator.status_writer import StatusWriter
from carillon_operator.work_queue import Key, WorkQueue

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Writers:
    """Where a plan goes, apart from the Jobs."""

    outbox: Outbox
    statuses: StatusWriter
    announcer: Announcer
    secret: RunnerSecret
    closer: Closer


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
        self._closer = writers.closer
        self._template = template
        self._clock = clock
        self._retries: dict[Key, int] = {}
        self._in_doubt: dict[Key, tuple[str, str]] = {}

    async def run_worker(self) -> None:
        """Reconcile what the queue gives, for ever. One task's failure never stops another's turn."""
        while True:
            key = await self._queue.take()
            try:
                await self.reconcile(key)
                self._retries.pop(key, None)
            except UnavailableError as error:
                self._retry(key, str(error), logging.WARNING)
            except ForbiddenError as error:
                self._say_forbidden(key, error)
                self._retry(key, str(error), logging.WARNING)
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
            self._in_doubt.pop(key, None)
            return
        await self._resolve_doubt(key, task)
        jobs = self._store.jobs_of(key)
        self._closer.close_ended(task, jobs)
        plan = decide(task, jobs, self._clock())
        await self._apply(key, task, plan)

    async def _apply(self, key: Key, task: ObservedTask, plan: Plan) -> None:
        status = plan.status
        records = [action for action in plan.actions if isinstance(action, RecordUnlaunched)]
        notices = list(plan.notices)
        for launch in (action for action in plan.actions if isinstance(action, Launch)):
            refused = await self._launch(key, task, launch)
            if refused is not None:
                records.append(refused)
                notices.append(Notice("Warning", refused.reason, refused.message))
                status = after_refusal(status, task.status, refused)
        # Only now: a plan whose launch could not be made is made anew, and must not have been recorded.
        for record in records:
            self._record(task, record)
        # Decided is decided: the next turn begins from here, whenever the object says so too.
        self._store.set_status(key, task.meta.uid, status)
        if task.meta.deletion_timestamp is None:
            self._statuses.put(key, task.meta, status, task.status)
        for notice in notices:
            log.warning("notice", extra={"fields": _fields(task, reason=notice.reason, why=notice.message)})
            self._announcer.announce(task.meta, notice, self._clock())
        self._queue.add_at(key, plan.requeue_at)
        if plan.actions:  # a launched Job changes what is active
            self._queue.add(key)

    async def _resolve_doubt(self, key: Key, task: ObservedTask) -> None:
        """Look for the Job of a launch whose answer got lost, before anything else is decided about its task."""
        doubt = self._in_doubt.get(key)
        if doubt is None:
            return
        try:
            self._store.put_job(await self._cluster.get_job(*doubt))
        except NotFoundError:
            log.info("the launch whose answer was lost was not made", extra={"fields": _fields(task, job=doubt[1])})
        del self._in_doubt[key]

    async def _launch(self, key: Key, task: ObservedTask, launch: Launch) -> RecordUnlaunched | None:
        """Create the slot's Job; return why not, if it is refused for good."""
        manifest = job_manifest(task, launch, self._template)
        name = manifest["metadata"]["name"]
        namespace = task.meta.namespace
        try:
            await self._secret.ensure(namespace)
            job = await self._create(key, manifest)
        except AlreadyExistsError:
            # An answer that got lost, or an operator before us: carry on. Or somebody else's: refuse.
            try:
                job = await self._cluster.get_job(namespace, name)
            except NotFoundError as error:  # deleted in between: its slot is tried again
                raise UnavailableError("API server", f"Job {name} came and went") from error
            found = observed_job(job)
            if found is None or found.task_uid != task.meta.uid:
                return _refused(launch, Reason.NAME_TAKEN, f"a Job {name} that is not this task's exists already")
        except NotFoundError:  # the namespace is going, and the task with it
            return _refused(launch, Reason.LAUNCH_REFUSED, f"the namespace {namespace} is gone")
        except RefusedError as error:
            return _refused(launch, Reason.LAUNCH_REFUSED, f"the API server refused Job {name}: {error}")
        else:
            late = (self._clock() - launch.slot).total_seconds()
            log.info("launched", extra={"fields": _fields(task, job=name, late_ms=round(late * 1000))})
            notice = Notice("Normal", Reason.LAUNCHED, f"launched Job {name} for the slot of {rfc3339(launch.slot)}")
            self._announcer.announce(task.meta, notice, self._clock())
        self._store.put_job(job)
        return None

    async def _create(self, key: Key, manifest: JSONObject) -> JSONObject:
        try:
            return await self._cluster.create_job(manifest)
        except UnavailableError:  # made or not made: the next turn looks
            self._in_doubt[key] = (manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            raise

    def _say_forbidden(self, key: Key, error: ForbiddenError) -> None:
        """Say on the task that the operator may not launch it; its slot is kept and tried again."""
        task = self._store.task(key)
        if task is None:
            return
        now = self._clock()
        message = f"the operator may not launch it: {error}"
        status = with_condition(task.status, task.meta, "Ready", "False", Reason.LAUNCH_REFUSED, message, now)
        if status != task.status:
            self._announcer.announce(task.meta, Notice("Warning", Reason.LAUNCH_REFUSED, message), now)
        self._store.set_status(key, task.meta.uid, status)
        self._statuses.put(key, task.meta, status, task.status)

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
