"""What a write would change: gather what the decision needs, as the caller. Dry runs call it."""

import asyncio
from collections.abc import Sequence

from carillon_api.schemas import UserOfTarget
from carillon_api.schemas.changes.dry_runs import AffectedObject, DeletionDryRun, DryRun, EndedExecution
from carillon_api.services.context import Context
from carillon_api.views.changes.dry_runs import Version, is_changed, task_changes
from carillon_api.views.objects import as_object
from carillon_api.views.runs import run_execution_id
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.observed.jobs import ObservedTarget, ObservedTask
from carillon_core.errors import ForbiddenError, NotFoundError
from carillon_core.ports import JSONObject
from carillon_core.resources.http_target import HTTPTargetSpec
from carillon_core.resources.names import KIND, KIND_REQUEST, KIND_TARGET, LABEL_TASK_UID

MOST_NAMED = 100
"""How many deleted objects one response names."""
MOST_JOBS = 500
"""How many Jobs of a task are looked at: with concurrencyPolicy Allow there can be any number."""
ASSUMED = HTTPTargetSpec(url="https://example.com/")
"""Stands for a target that the caller may not read."""


async def target_dry_run(_: Context, before: JSONObject | None, after: JSONObject | None) -> DryRun:
    """Return what a write of a target would change."""
    return DryRun(changed=is_changed(before, after))


async def task_dry_run(ctx: Context, before: JSONObject | None, after: JSONObject | None) -> DryRun:
    """Return what a write of a task would change.

    Args:
        ctx: The caller's, of a dry run.
        before: The stored task; None if the write creates it.
        after: The task as it would be stored; None if the write deletes it.

    """
    notes: list[str] = []
    jobs = await _jobs(ctx, before, notes)
    versions = [await _version(ctx, raw, notes) for raw in (before, after)]
    changes = await asyncio.to_thread(task_changes, versions[0], versions[1], jobs, ctx.clock())
    # both versions may name the same target
    return changes.model_copy(update={"notes": [*dict.fromkeys(notes), *changes.notes]})


async def task_deletion(ctx: Context, before: JSONObject) -> DeletionDryRun:
    """Return what the deletion of a task would change; less if the caller may not read it."""
    if "uid" in before["metadata"]:
        changes = await task_dry_run(ctx, before, None)
    else:
        changes = DryRun(changed=True, notes=["you may not read the task: its slots and executions are not shown"])
    return _deletion(before, KIND, changes)


def run_deletion(before: JSONObject) -> DeletionDryRun:
    """Return what the deletion of a run would change: its execution is ended if it has not ended."""
    status = as_object(before.get("status"))
    job = status.get("jobName")
    ends = []
    if job and status.get("finishedAt") is None:
        ends.append(EndedExecution(id=run_execution_id(before), job_name=str(job)))
    return _deletion(before, KIND_REQUEST, DryRun(changed=True, ends=ends))


def created_run(stored: JSONObject) -> DryRun:
    """Return what the request of a run would change: nothing if the same request exists, which thus has a version."""
    if "resourceVersion" in stored["metadata"]:
        return DryRun(changed=False)
    return DryRun(changed=True, created=[AffectedObject(kind=KIND_REQUEST, name=stored["metadata"]["name"])])


def cancellation(record: ExecutionRecord, job: str | None) -> DryRun:
    """Return what the cancellation of an execution would change; nothing if its Job is gone."""
    if job is None:
        return DryRun(changed=False)
    ends = [EndedExecution(id=record.id, job_name=job)]
    return DryRun(changed=True, deleted=[AffectedObject(kind="Job", name=job)], ends=ends)


def target_deletion(name: str, users: Sequence[UserOfTarget]) -> DryRun:
    """Return what the deletion of a target and its users would change."""
    deleted = [AffectedObject(kind=user.kind, name=user.name) for user in users[: MOST_NAMED - 1]]
    return DryRun(changed=True, deleted=[*deleted, AffectedObject(kind=KIND_TARGET, name=name)])


def _deletion(before: JSONObject, kind: str, changes: DryRun) -> DeletionDryRun:
    meta = before["metadata"]
    deleted = [AffectedObject(kind=kind, name=meta["name"])]
    told = changes.model_copy(update={"deleted": deleted})
    return DeletionDryRun(namespace=meta["namespace"], name=meta["name"], dry_run=told)


async def _jobs(ctx: Context, before: JSONObject | None, notes: list[str]) -> Sequence[JSONObject]:
    """Return the Jobs of a stored task, if the caller may list them."""
    if before is None:
        return ()
    meta = before["metadata"]
    try:
        found = await ctx.cluster.list_jobs(meta["namespace"], f"{LABEL_TASK_UID}={meta['uid']}", MOST_JOBS)
    except ForbiddenError:
        notes.append("you may not list Jobs: the task is assumed to have no active executions")
        return ()
    if not found.complete:
        count = len(found.items)
        notes.append(f"only {count} Jobs of the task are looked at: it has more, or they are too large together")
    return found.items


async def _version(ctx: Context, raw: JSONObject | None, notes: list[str]) -> Version | None:
    """Return a version of a task with the target that it names, which is assumed if the caller may not read it."""
    if raw is None:
        return None
    name = ObservedTask.from_object(raw).target_name
    if name is None:
        return Version(raw)
    try:
        return Version(raw, ObservedTarget.from_object(await ctx.targets.get(raw["metadata"]["namespace"], name)))
    except NotFoundError:
        return Version(raw)
    except ForbiddenError:
        notes.append(f"you may not read the HTTPTarget {name}: it is assumed to exist and to be valid")
        return Version(raw, ObservedTarget(name, ASSUMED))
