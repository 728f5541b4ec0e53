"""A better minute for a task, among the tasks that the caller may list."""

import asyncio
from datetime import datetime, timedelta
from functools import partial

from carillon_api.schemas import PreviewBody
from carillon_api.schemas.reports.spread import Spread, SpreadBody
from carillon_api.services.context import Context
from carillon_api.services.upcoming import entries_in
from carillon_api.views.objects import refuse
from carillon_api.views.preview import judged
from carillon_api.views.reports.spread import offsets_of, spread_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.timetable.schedule import Schedule, schedule_of, schedule_problems
from carillon_core.errors import FieldProblem, InvalidResourceError, TooMuchWorkError
from carillon_core.resources.scheduled_task import ScheduledTaskSpec


async def spread(ctx: Context, namespace: str | None, body: SpreadBody) -> Spread:
    """Return how to move a task's slots so that they share their minutes with the fewest other launches.

    Raises:
        InvalidResourceError: The body has neither a task nor a spec, or both, or one that is invalid.
        NotFoundError: The task does not exist.
        ForbiddenError: The caller may not list tasks there, or not get the task.

    """
    now = ctx.clock()
    if (body.task is None) == (body.spec is None):
        raise InvalidResourceError([FieldProblem("task", "set exactly one of task and spec")])
    if body.task is not None and namespace is None:
        raise InvalidResourceError([FieldProblem("namespace", "must be set with task: name the task's namespace")])
    try:
        spec, created_at = await _spec(ctx, namespace or "", body, now)
        entries = await entries_in(ctx, namespace)
        others = [each for each in entries if (each.namespace, each.name) != (namespace, body.task)]
        offsets = offsets_of(spec, timedelta(seconds=body.within_seconds))
        async with ctx.backends.computing.of(ctx.caller.subject):
            schedule = await asyncio.to_thread(_schedule, spec, created_at)
            return await asyncio.to_thread(spread_of, schedule, offsets, others, now)
    except TooMuchWorkError as error:
        field = "spec" if body.task is None else "task"
        raise InvalidResourceError([FieldProblem(field, f"its times cannot be computed: {error}")]) from error


async def _spec(ctx: Context, namespace: str, body: SpreadBody, now: datetime) -> tuple[ScheduledTaskSpec, datetime]:
    """Return the spec of the body or of its task, and when the task was created."""
    if body.task is None:
        given = PreviewBody(spec=body.spec or {})
        spec, problems = await asyncio.to_thread(CPU_LIMIT.run, partial(judged, given, now))
        refuse(problems)
        if spec is None:
            raise AssertionError  # it has problems
        return spec, now
    task = ObservedTask.from_object(await ctx.tasks.get(namespace, body.task))
    if task.spec is None:
        raise InvalidResourceError([FieldProblem("task", "has an invalid spec: correct it first")])
    if await asyncio.to_thread(CPU_LIMIT.run, partial(schedule_problems, task.spec)):
        raise InvalidResourceError([FieldProblem("task", "has an invalid schedule: correct it first")])
    return task.spec, task.created_at


def _schedule(spec: ScheduledTaskSpec, created_at: datetime) -> Schedule:
    return CPU_LIMIT.run(partial(schedule_of, spec, created_at))
