"""Gather, decide, apply: what happens to one task, and to the requests for it, when its turn comes.

The order of the writes is what makes a crash harmless. The Job comes first:
its name is the slot's lock, and its existence settles the slot even if the
status that says so is never written. Then the status; in it stands what was
settled without a launch. Only when the API server has that, the history is
told, and only when the history has it, the status lets go of it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide import after_refusal, decide
from carillon_core.domain.decision.decide_request import decide_request, refusal_of, refusal_status, refused_launch
from carillon_core.domain.decision.plan import (
    Action,
    DeleteJob,
    EndExecution,
    Launch,
    Notice,
    Plan,
    Reason,
    RecordUnlaunched,
    RequestPlan,
)
from carillon_core.domain.decision.status import with_condition
from carillon_core.domain.decision.unrecorded import unrecorded_id, with_unrecorded, without_recorded
from carillon_core.domain.execution import ExecutionRecord, job_name
from carillon_core.domain.launch.order import request_order, slot_order
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask
from carillon_core.errors import ForbiddenError, NotFoundError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import Cluster
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.closer import RECORD_FIRST, Closer
from carillon_operator.apply.janitor import Janitor
from carillon_operator.apply.launcher import Launcher
from carillon_operator.apply.outbox import Outbox
from carillon_operator.apply.status_writer import StatusWriter
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.work_queue import Key, WorkQueue

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Writers:
    """Where a plan goes."""

    launcher: Launcher
    outbox: Outbox
    statuses: StatusWriter
    announcer: Announcer
    closer: Closer
    janitor: Janitor


class Reconciler:
    """Brings each task's Jobs, records and status to where ``decide`` wants them."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        store: ObservedStore,
        ownership: Ownership,
        queue: WorkQueue,
        writers: Writers,
        clock: Callable[[], datetime],
        pod_defaults: PodSettings,
    ) -> None:
        """Take everything that is read from and written to, and what pods have whose tasks say no more."""
        self._cluster = cluster
        self._store = store
        self._ownership = ownership
        self._queue = queue
        self._launcher = writers.launcher
        self._outbox = writers.outbox
        self._statuses = writers.statuses
        self._announcer = writers.announcer
        self._closer = writers.closer
        self._janitor = writers.janitor
        self._clock = clock
        self._pod_defaults = pod_defaults
        self._retries: dict[Key, int] = {}
        self._said: dict[Key, frozenset[Notice]] = {}

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
                log.exception("reconcile failed", task="/".join(key))
                self._retry(key, repr(error), logging.ERROR)
            finally:
                self._queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Bring a task to where it should be, then the requests for it, oldest first.

        One key, one turn: so that a slot and a request never find each other inactive at once.
        """
        await self._launcher.resolve_doubt(key)
        times = [await self._reconcile_task(key)]
        # set at once: whatever becomes of the requests, the next slot comes at its time
        self._queue.add_at(key, times[0])
        failures: list[Exception] = []
        for request in self._ownership.requests_of(key):
            try:
                times.append(await self._reconcile_request(key, request))
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  # raised below: the other requests have their turn first
                failures.append(error)
        self._queue.add_at(key, _earliest(*times))
        if failures:
            raise failures[0]

    async def _reconcile_task(self, key: Key) -> datetime | None:
        """Gather, decide, apply; return when to look again."""
        foreign = self._store.foreign_statuses(key)
        task = await self._gathered(key)
        if task is not None:
            await self._look_for_running_job(task)
        jobs = self._store.jobs_of(key)
        self._closer.close_ended(self._ownership.jobs_of(key))
        for job in jobs:
            if self._closer.is_recorded(job):
                self._store.forget_deleted(job)
        if task is None:
            self._statuses.forget("ScheduledTask", *key)
            self._said.pop(key, None)
            if not self._store.requests_of(key):
                self._launcher.forget(key)
            return None
        self._record_settled(task)
        plan = decide(task, jobs, self._clock(), self._pod_defaults)
        if await self._found_overtaken_job(task, plan):
            jobs = self._store.jobs_of(key)
            plan = decide(task, jobs, self._clock(), self._pod_defaults)
        await self._launch_slots(key, task, plan, foreign)
        return _earliest(plan.requeue_at, await self._apply_ends(key, jobs, plan.actions))

    async def _gathered(self, key: Key) -> ObservedTask | None:
        task = self._ownership.task(key)
        if task is None:
            return None
        if task.target_name is not None and task.target is None:
            await self._look_for_target(key[0], task.target_name)
        status = without_recorded(task.status, task.meta.uid, self._outbox.written)
        return task if status is task.status else replace(task, status=status)

    async def _look_for_running_job(self, task: ObservedTask) -> None:
        """Ask for the Job that the status calls running, if no list has shown it: a list may be of the past."""
        last = task.status.last_execution
        if last is None or last.result is not RunResult.RUNNING:
            return
        if self._store.job(task.meta.namespace, last.job_name) is None:
            try:
                self._store.put_job(await self._cluster.get_job(task.meta.namespace, last.job_name))
            except NotFoundError:
                return  # it is gone, and the decision says so

    async def _found_overtaken_job(self, task: ObservedTask, plan: Plan) -> bool:
        """Ask for the Job of the oldest slot that is about to be called missed; return whether it is there.

        An operator that was killed between that Job and the status leaves nothing else that tells of it, and a list
        may be of the past. Of later slots there is none: they would have been launched after that status.
        """
        missed = (a for a in plan.actions if isinstance(a, RecordUnlaunched) and a.status is ExecutionStatus.MISSED)
        oldest = min((a.first_slot or a.slot for a in missed), default=None)
        if oldest is None or self._store.job(task.meta.namespace, name := job_name(task.meta.name, oldest)) is not None:
            return False
        try:
            change = self._store.put_job(await self._cluster.get_job(task.meta.namespace, name))
        except NotFoundError:
            return False
        return change is not None

    async def _look_for_target(self, namespace: str, name: str) -> None:
        """Ask for an HTTPTarget that no event has shown: that it is not there decides about a slot."""
        try:
            raw = await self._cluster.get_object("HTTPTarget", namespace, name)
        except NotFoundError:
            return
        self._store.put_target(raw)
        raise UnavailableError("HTTPTarget", f"{name} was only just seen")

    def _record_settled(self, task: ObservedTask) -> None:
        """Tell the history what the API server already has as settled without a launch."""
        for entry in task.stored.unrecorded:
            uid = unrecorded_id(task.meta.uid, entry)
            if self._outbox.waits(uid) or self._outbox.wrote(uid):
                continue
            now = self._clock()
            row = ExecutionRecord(
                id=uid,
                task_uid=task.meta.uid,
                namespace=task.meta.namespace,
                task=task.meta.name,
                task_type=task.spec.task.type if task.spec else "unknown",
                slot=entry.slot,
                first_slot=entry.first_slot,
                cause=Cause.SCHEDULE,
                status=ExecutionStatus(entry.status),
                reason=entry.reason,
                message=entry.message,
                error=entry.message if entry.status == "failed" else None,
                created_at=now,
                finished_at=max(now, entry.slot),
            )
            self._outbox.put([row])

    async def _launch_slots(self, key: Key, task: ObservedTask, plan: Plan, foreign: int) -> None:
        """Launch what is to be launched, then have the status written and the notices announced."""
        status = plan.status
        notices = list(plan.notices)
        for launch in (action for action in plan.actions if isinstance(action, Launch)):
            order = slot_order(task, launch)
            refused = await self._launcher.launch(key, order)
            if refused is None:
                self._closer.launched(order)
                continue
            record = RecordUnlaunched(
                launch.slot, launch.execution_id, ExecutionStatus.MISSED, refused.reason, refused.message
            )
            notices.append(Notice("Warning", refused.reason, refused.message))
            status = with_unrecorded(after_refusal(status, task.status, record), record)
        if self._store.foreign_statuses(key) != foreign:
            # somebody else has written a status meanwhile: the Jobs stay, the rest is decided anew from that
            self._queue.add(key)
            return
        # Decided is decided: the next turn begins from here, whenever the object says so too.
        self._store.set_status(key, task.meta.uid, status)
        if task.meta.deletion_timestamp is None:
            self._statuses.put("ScheduledTask", task.meta, status, task.stored)
        self._announce(key, task, notices)
        if any(isinstance(action, Launch) for action in plan.actions):  # a launched Job changes what is active
            self._queue.add(key)

    def _announce(self, key: Key, task: ObservedTask, notices: Sequence[Notice]) -> None:
        """Announce what the last turn did not announce: one that waits for a record decides the same again."""
        said = self._said.get(key, frozenset())
        for notice in notices:
            if notice not in said:
                self._tell(task.meta.namespace, task.meta.name, notice)
                self._announcer.announce(task.meta, notice, self._clock())
        if notices:
            self._said[key] = frozenset(notices)
        else:
            self._said.pop(key, None)

    async def _apply_ends(self, key: Key, jobs: Sequence[ObservedJob], actions: Sequence[Action]) -> datetime | None:
        """End executions and delete Jobs, as far as the history has what they leave behind.

        Returns:
            When to look again, if an end waits for its record.

        """
        by_uid = {job.uid: job for job in jobs}
        look_again: datetime | None = None
        for action in actions:
            if isinstance(action, EndExecution):
                job = by_uid[action.job_uid]
                if not self._closer.end(job, action):
                    # the record comes first; when it is written this key has its turn again, or then at the latest
                    look_again = self._clock() + RECORD_FIRST
                    continue
                self._store.end_job(action, self._clock())
                try:
                    await self._cluster.delete_job(key[0], action.job_name, action.job_uid, after_pods=True)
                except NotFoundError:
                    self._store.drop_job((key[0], action.job_name), action.job_uid)
                    self._queue.add(key)
            elif isinstance(action, DeleteJob) and self._closer.is_recorded(by_uid[action.job_uid]):
                self._janitor.delete_job(key[0], action.job_name, action.job_uid)
        return look_again

    async def _reconcile_request(self, key: Key, request: ObservedRequest) -> datetime | None:
        """Gather, decide, apply; return when to look again."""
        name = (request.meta.namespace, request.meta.name)
        if request.target_name is not None and request.target is None:
            await self._look_for_target(name[0], request.target_name)
        task = self._store.task(key) if request.task_name is not None else None
        if request.task_name is not None and task is None:
            await self._look_for_task(key)
        self._record_refused(request, task)
        jobs = self._store.jobs_of(key)
        plan = decide_request(request, task, jobs, self._clock(), self._pod_defaults)
        if plan.delete:
            self._delete_request(request, jobs)
            return None
        return await self._apply_request(key, request, task, plan)

    async def _apply_request(
        self, key: Key, request: ObservedRequest, task: ObservedTask | None, plan: RequestPlan
    ) -> datetime | None:
        for launch in (action for action in plan.actions if isinstance(action, Launch)):
            order = request_order(request, task, launch)
            refused = await self._launcher.launch(key, order)
            if refused is None:
                self._closer.launched(order)
                self._queue.add(key)
            else:
                plan = refused_launch(request, task, refused.reason, refused.message, self._clock())
        name = (request.meta.namespace, request.meta.name)
        self._store.set_request_status(name, request.meta.uid, plan.status)
        if request.meta.deletion_timestamp is None:
            self._statuses.put("RunRequest", request.meta, plan.status, request.stored)
        for notice in plan.notices:
            self._tell(*name, notice)
            self._announcer.announce(request.meta, notice, self._clock(), "RunRequest")
        return _earliest(plan.requeue_at, await self._apply_ends(key, self._store.jobs_of(key), plan.actions))

    async def _look_for_task(self, key: Key) -> None:
        """Ask for a ScheduledTask that no event has shown: that it is not there refuses a request."""
        try:
            raw = await self._cluster.get_object("ScheduledTask", *key)
        except NotFoundError:
            return
        self._store.put_task(raw)
        raise UnavailableError("ScheduledTask", f"{key[1]} was only just seen")

    def _record_refused(self, request: ObservedRequest, task: ObservedTask | None) -> None:
        """Tell the history of a request that the API server already has as refused."""
        refusal, uid = refusal_of(request), request.stored.execution_id
        if refusal is None or uid is None or self._outbox.waits(UUID(uid)) or self._outbox.wrote(UUID(uid)):
            return
        reason, message = refusal
        now = self._clock()
        own = request.spec.task if request.spec else None
        kind = own.type if own else (task.spec.task.type if task and task.spec else "unknown")
        status = refusal_status(reason)
        row = ExecutionRecord(
            id=UUID(uid),
            task_uid=request.stored.task_uid or request.meta.uid,
            origin=request.meta.uid,
            namespace=request.meta.namespace,
            task=request.task_name or request.meta.name,
            task_type=kind,
            slot=request.slot,
            cause=Cause.MANUAL,
            status=status,
            reason=reason,
            message=message,
            error=message if status is ExecutionStatus.FAILED else None,
            created_at=now,
            finished_at=max(now, request.slot),
            retry_of=request.spec.retry_of if request.spec else None,
        )
        self._outbox.put([row])

    def _delete_request(self, request: ObservedRequest, jobs: Sequence[ObservedJob]) -> None:
        """Have a request deleted, its Job with it, unless the history lacks what they say."""
        if request.stored.execution_id and self._outbox.waits(UUID(request.stored.execution_id)):
            return  # when that is written this key has its turn again
        own = [job for job in jobs if job.cause is Cause.MANUAL and job.origin == request.meta.uid]
        if all(self._closer.is_recorded(job) for job in own):
            self._janitor.delete_request(request.meta)

    def _say_forbidden(self, key: Key, error: ForbiddenError) -> None:
        """Say on the task that the operator may not launch it; its slot is kept and tried again."""
        task = self._ownership.task(key)
        if task is None:
            return
        now = self._clock()
        message = f"the operator may not launch it: {error}"
        status = with_condition(task.status, task.meta, "Ready", "False", Reason.LAUNCH_REFUSED, message, now)
        if status != task.status:
            self._announcer.announce(task.meta, Notice("Warning", Reason.LAUNCH_REFUSED, message), now)
        self._store.set_status(key, task.meta.uid, status)
        self._statuses.put("ScheduledTask", task.meta, status, task.stored)

    def _retry(self, key: Key, why: str, level: int) -> None:
        """Have a key tried again later, ever more rarely."""
        tries = self._retries.get(key, 0)
        self._retries[key] = tries + 1
        delay = min(FIRST_RETRY_SECONDS * 2 ** min(tries, 16), LAST_RETRY_SECONDS)
        log.log(level, "not carried out, will try again", task="/".join(key), why=why, retry_in_s=delay)
        self._queue.add_after(key, delay)

    def _tell(self, namespace: str, name: str, notice: Notice) -> None:
        level = logging.WARNING if notice.type == "Warning" else logging.INFO
        log.log(level, "notice", task=f"{namespace}/{name}", reason=notice.reason, why=notice.message)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((t for t in times if t is not None), default=None)
