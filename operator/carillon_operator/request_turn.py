"""One RunRequest's part of a turn: gather, decide, apply."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from carillon_core.contract import Cause
from carillon_core.domain.decision.decide_request import decide_request, refused_launch
from carillon_core.domain.decision.plan import Launch, RequestPlan, earliest
from carillon_core.domain.decision.records import refused_row
from carillon_core.domain.launch.order import request_order
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask
from carillon_core.resources.pods import PodSettings
from carillon_operator.apply.effects import Effects
from carillon_operator.gather.lookups import Lookups
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

    async def reconcile(self, key: Key, request: ObservedRequest) -> datetime | None:
        """Gather, decide, apply; return when to look again."""
        if request.target_name is not None and request.target is None:
            request = replace(request, target=await self._lookups.target(key[0], request.target_name))
        task = self._store.tasks.get(key) if request.task_name is not None else None
        self._record_refused(request, task)
        jobs = self._store.jobs.under(key)
        plan = decide_request(request, task, jobs, self._clock(), self._pod_defaults)
        if plan.delete:
            self._delete(request, jobs)
            return None
        return await self._apply(key, request, task, plan)

    async def _apply(
        self, key: Key, request: ObservedRequest, task: ObservedTask | None, plan: RequestPlan
    ) -> datetime | None:
        """Launch, then write the status, announce the notices and end Jobs."""
        for launch in (action for action in plan.actions if isinstance(action, Launch)):
            order = request_order(request, task, launch)
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
        jobs = self._store.jobs.under(key)
        return earliest(plan.requeue_at, await self._effects.ender.apply(key, jobs, plan.actions))

    def _record_refused(self, request: ObservedRequest, task: ObservedTask | None) -> None:
        """Record a request that was refused according to its stored status."""
        outbox = self._effects.outbox
        row = refused_row(request, task, self._clock())
        if row is not None and not outbox.waits(row.id) and not outbox.wrote(row.id):
            outbox.put([row])

    def _delete(self, request: ObservedRequest, jobs: Sequence[ObservedJob]) -> None:
        """Delete a request and its Job, unless their end has yet to be recorded."""
        uid = request.stored.execution_id
        if uid and self._effects.outbox.waits(UUID(uid)):
            return  # this key has another turn when the record is written
        own = [job for job in jobs if job.cause is Cause.MANUAL and job.origin == request.meta.uid]
        if all(self._effects.closer.is_recorded(job) for job in own):
            self._effects.janitor.delete_request(request.meta)
