"""One RunRequest's part of a turn: gather, decide, apply."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import UUID

from carillon_core.domain.decision.decide_request import decide_request, refused_launch
from carillon_core.domain.decision.plan import Launch, RequestPlan, earliest
from carillon_core.domain.decision.records import refused_row
from carillon_core.domain.launch.order import request_order
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask
from carillon_core.resources.pods import PodSettings
from carillon_operator.apply.closer import RECORD_FIRST
from carillon_operator.apply.effects import Effects
from carillon_operator.gather.lookups import Lookups
from carillon_operator.guard.guard import SetAsideError
from carillon_operator.guard.subject import Subject
from carillon_operator.state.agenda import Name
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key


class RequestTurn:
    """Decides about one RunRequest and carries the decision out."""

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
        self._unrecorded: dict[UUID, Name] = {}
        """The requests that are deleted once their execution is recorded."""

    def recorded(self, execution: UUID) -> None:
        """Learn that an execution is recorded: its request may wait for that."""
        name = self._unrecorded.pop(execution, None)
        if name is not None:
            self._store.requests.touch(name)

    async def reconcile(self, key: Key, request: ObservedRequest) -> datetime | None:
        """Gather, decide, apply; return when to look again."""
        if request.target_name is not None and request.target is None:
            request = replace(request, target=await self._lookups.target(key[0], request.target_name))
        task = self._store.tasks.get(key) if request.task_name is not None else None
        self._record_refused(request, task)
        plan = self._decided(request, task, self._jobs(key, request))
        if plan.delete:
            return None if self.delete(request) else self._clock() + RECORD_FIRST
        return await self._apply(key, request, task, plan)

    def _jobs(self, key: Key, request: ObservedRequest) -> Sequence[ObservedJob]:
        """Return the Jobs that decide about a request: its own, and what is active under its key."""
        own = self._store.job_of(request)
        active = [job for job in self._store.jobs.under(key) if job.active and (own is None or job.uid != own.uid)]
        return active if own is None else [own, *active]

    def _decided(self, request: ObservedRequest, task: ObservedTask | None, jobs: Sequence[ObservedJob]) -> RequestPlan:
        """Return the plan; if deciding fails in a way that could stop the operator, that of a request set aside."""
        subject, now = Subject.of_meta("RunRequest", request.meta), self._clock()
        try:
            return self._store.guard.run(
                subject, "decide", partial(decide_request, request, task, jobs, now, self._pod_defaults)
            )
        except SetAsideError as error:
            return decide_request(replace(request, spec=None, quarantined=str(error)), None, jobs, now)

    async def _apply(
        self, key: Key, request: ObservedRequest, task: ObservedTask | None, plan: RequestPlan
    ) -> datetime | None:
        """Launch, then write the status, announce the notices and end Jobs."""
        for launch in (action for action in plan.actions if isinstance(action, Launch)):
            subject = Subject.of_meta("RunRequest", request.meta)
            order = self._store.guard.run(subject, "order", partial(request_order, request, task, launch))
            refused = await self._effects.launcher.launch(key, order)
            if refused is None:
                self._effects.closer.launched(order)
                self._view.queue.add(key)
            else:
                plan = refused_launch(request, task, refused.reason, refused.message, self._clock())
        name = (request.meta.namespace, request.meta.name)
        self._store.requests.set_status(name, request.meta.uid, plan.status)
        if request.meta.deletion_timestamp is None:
            self._effects.statuses.put("RunRequest", request.meta, plan.status, request.stored)
        for notice in plan.notices:
            self._effects.announcer.report(request.meta, notice, "RunRequest")
        ending = self._effects.ender.apply(key, self._jobs(key, request), plan.actions)
        return earliest(plan.requeue_at, await ending)

    def _record_refused(self, request: ObservedRequest, task: ObservedTask | None) -> None:
        """Record a request that was refused according to its stored status."""
        outbox = self._effects.outbox
        row = refused_row(request, task, self._clock())
        if row is not None and not outbox.waits(row.id) and not outbox.wrote(row.id):
            outbox.put([row])

    def delete(self, request: ObservedRequest) -> bool:
        """Have a request and its Job deleted; return False if something of them is still to be recorded."""
        uid, job = request.stored.execution_id, self._store.job_of(request)
        if uid and self._effects.outbox.waits(UUID(uid)):
            self._unrecorded[UUID(uid)] = (request.meta.namespace, request.meta.name)
            return False
        if job is not None and not self._effects.closer.is_recorded(job):
            return False
        self._effects.janitor.delete_request(request.meta)
        return True
