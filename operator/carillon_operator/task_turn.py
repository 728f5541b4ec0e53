"""One task's part of a turn: gather, decide, apply."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide import after_refusal, decide
from carillon_core.domain.decision.plan import Launch, Notice, Plan, RecordUnlaunched, earliest
from carillon_core.domain.decision.records import settled_row
from carillon_core.domain.decision.unrecorded import unrecorded_id, with_unrecorded, without_recorded
from carillon_core.domain.execution import job_name
from carillon_core.domain.launch.order import slot_order
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTask
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.apply.effects import Effects
from carillon_operator.gather.lookups import Lookups
from carillon_operator.guard.guard import SetAsideError
from carillon_operator.guard.subject import Subject
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key


class TaskTurn:
    """Decides about one task and carries the decision out."""

    def __init__(
        self,
        view: View,
        lookups: Lookups,
        effects: Effects,
        clock: Callable[[], datetime],
        pod_defaults: PodSettings,
    ) -> None:
        """Take the view and the effects that carry plans out."""
        self._view = view
        self._store = view.store
        self._lookups = lookups
        self._effects = effects
        self._clock = clock
        self._pod_defaults = pod_defaults
        self._announced: dict[Key, frozenset[Notice]] = {}
        self._began = clock()
        self._confirmed: set[Key] = set()
        """The tasks whose status was looked up because they had slots from before."""

    async def reconcile(self, key: Key) -> datetime | None:
        """Gather, decide, apply; return when to look again."""
        foreign = self._store.tasks.foreign_statuses(key)
        task = await self._gathered(key)
        jobs = self._store.jobs.under(key)
        self.close_ended(key)
        if task is None:
            self._forget(key)
            return None
        self._effects.chronicler.saw(task)
        self._record_settled(task)
        plan = self._decided(task, jobs)
        if await self._found_overtaken_job(task, plan):
            jobs = self._store.jobs.under(key)
            plan = self._decided(task, jobs)
        if await self._found_newer_status(key, task, plan):
            return await self.reconcile(key)
        await self._apply(key, task, plan, foreign)
        self._retire(key, task, jobs)
        return earliest(plan.requeue_at, await self._effects.ender.apply(key, jobs, plan.actions))

    def _decided(self, task: ObservedTask, jobs: Sequence[ObservedJob]) -> Plan:
        """Return the plan; if deciding fails in a way that could stop the operator, that of a task set aside."""
        subject, now = Subject.of_meta("ScheduledTask", task.meta), self._clock()
        try:
            return self._store.guard.run(subject, "decide", partial(decide, task, jobs, now, self._pod_defaults))
        except SetAsideError as error:
            return decide(replace(task, spec=None, quarantined=str(error)), jobs, now)

    async def _gathered(self, key: Key) -> ObservedTask | None:
        """Return the task, if it is ours, with its target and without the entries that the history already has."""
        task = self._view.ownership.task(key)
        if task is None:
            return None
        if task.target_name is not None and task.target is None:
            task = replace(task, target=await self._lookups.target(key[0], task.target_name))
        await self._look_for_running_job(task)
        status = without_recorded(task.status, task.meta.uid, self._effects.outbox.written)
        return task if status is task.status else replace(task, status=status)

    async def _look_for_running_job(self, task: ObservedTask) -> None:
        """Look up the Job that is running according to the status, if no list has shown it: a list may be old."""
        last = task.status.last_execution
        if last is None or last.result is not RunResult.RUNNING:
            return
        if self._store.jobs.get(task.meta.namespace, last.job_name) is None:
            await self._lookups.has_job(task.meta.namespace, last.job_name)

    async def _found_overtaken_job(self, task: ObservedTask, plan: Plan) -> bool:
        """Look up the Job of the oldest slot that is missed according to the plan; return whether it exists.

        If an operator was killed between creating that Job and writing the status, nothing else shows the Job, and a
        list may be old. Later slots have no such Job: they are launched only after that status was written.
        """
        missed = (a for a in plan.actions if isinstance(a, RecordUnlaunched) and a.status is ExecutionStatus.MISSED)
        oldest = min((a.first_slot or a.slot for a in missed), default=None)
        if oldest is None:
            return False
        namespace, name = task.meta.namespace, job_name(task.meta.name, oldest)
        return self._store.jobs.get(namespace, name) is None and await self._lookups.has_job(namespace, name)

    async def _found_newer_status(self, key: Key, task: ObservedTask, plan: Plan) -> bool:
        """Look up a task before it launches a slot that an earlier operator may have settled; return whether it did.

        That operator may have skipped the slot because an execution was active that has ended since, and only the
        status says so, which may be missing in an old list. Later slots are ours alone.
        """
        earlier = any(isinstance(action, Launch) and action.slot < self._began for action in plan.actions)
        if not earlier or key in self._confirmed:
            return False
        newer = await self._lookups.newer_task(key, task)
        self._confirmed.add(key)
        return newer

    def close_ended(self, key: Key) -> None:
        """Record the ends of Jobs, and forget deleted Jobs whose end is recorded."""
        closer = self._effects.closer
        closer.close_ended(self._view.ownership.jobs_of(key))
        for job in self._store.jobs.under(key):
            if closer.is_recorded(job):
                self._store.forget_deleted(job)

    def _retire(self, key: Key, task: ObservedTask, jobs: Sequence[ObservedJob]) -> None:
        """Look no more at the Jobs of requests that have ended and are counted; the latest to end says the result."""
        counted = task.stored.counted_until
        ended = sorted((job for job in jobs if not job.active), key=lambda job: (job.slot, job.name))
        for job in ended[:-1]:
            said_all = job.cause is Cause.MANUAL and counted is not None and (job.finished_at or job.slot) <= counted
            if said_all and self._effects.closer.is_recorded(job) and not self._store.jobs.was_deleted(job):
                self._store.jobs.index.retire(key, (job.namespace, job.name))

    def _forget(self, key: Key) -> None:
        """Forget a task that is gone."""
        self._effects.chronicler.lost(key)
        self._effects.statuses.forget("ScheduledTask", *key)
        self._announced.pop(key, None)
        self._confirmed.discard(key)
        with_requests = self._store.requests.keys()
        if key not in with_requests:
            self._effects.launcher.forget(key)

    def _record_settled(self, task: ObservedTask) -> None:
        """Record the slots that were settled without a launch according to the stored status."""
        outbox = self._effects.outbox
        for entry in task.stored.unrecorded:
            uid = unrecorded_id(task.meta.uid, entry)
            if outbox.waits(uid) or outbox.wrote(uid):
                continue
            outbox.put([settled_row(task, entry, self._clock())])

    async def _apply(self, key: Key, task: ObservedTask, plan: Plan, foreign: int) -> None:
        """Launch, then write the status and announce the notices."""
        status = plan.status
        notices = list(plan.notices)
        launches = [action for action in plan.actions if isinstance(action, Launch)]
        for launch in launches:
            subject = Subject.of_meta("ScheduledTask", task.meta)
            order = self._store.guard.run(subject, "order", partial(slot_order, task, launch))
            refused = await self._effects.launcher.launch(key, order)
            if refused is None:
                self._effects.closer.launched(order)
                continue
            record = RecordUnlaunched(
                launch.slot, launch.execution_id, ExecutionStatus.MISSED, refused.reason, refused.message
            )
            notices.append(Notice("Warning", refused.reason, refused.message, "launch refused"))
            status = with_unrecorded(after_refusal(status, task.status, record), record)
        if self._store.tasks.foreign_statuses(key) != foreign:
            # another writer changed the status meanwhile: the Jobs stay, the rest is decided again from that status
            self._view.queue.add(key)
            return
        # the next turn starts from this status, whenever the API server shows it
        self._store.tasks.set_status(key, task.meta.uid, status)
        if task.meta.deletion_timestamp is None:
            self._effects.statuses.put("ScheduledTask", task.meta, status, task.stored)
        self._announce(key, task, notices)
        if launches:  # a launched Job changes what is active
            self._view.queue.add(key)

    def _announce(self, key: Key, task: ObservedTask, notices: Sequence[Notice]) -> None:
        """Announce the notices that the last turn did not have: a turn that waits for a record decides as before."""
        announced = self._announced.get(key, frozenset())
        for notice in notices:
            if notice not in announced:
                self._effects.announcer.report(task.meta, notice)
        if notices:
            self._announced[key] = frozenset(notices)
        else:
            self._announced.pop(key, None)
