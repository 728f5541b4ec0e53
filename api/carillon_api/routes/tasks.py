"""Tasks: create, list, get, replace, patch, pause, resume, delete."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from carillon_api.http.bodies import json_body
from carillon_api.http.paging import page_of
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import body_of, created, deleted, versioned
from carillon_api.routes.dependencies import Ctx, Namespace, Precondition, TaskName
from carillon_api.schemas import AllTasksQuery, TaskCreate, TaskList, TaskPatch, TaskQuery, TaskReplace, TaskView
from carillon_api.schemas.changes.dry_runs import DeletionDryRun
from carillon_api.services.changes.dry_runs import task_deletion, task_dry_run
from carillon_api.services.context import Context
from carillon_api.services.edits import delete_object, edit_object, set_suspended
from carillon_api.services.object_answers import CREATE, EDIT, LIST, READ, Answers
from carillon_api.views.tasks import is_wanted, new_object, patched_object, replaced_object, task_view
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Window
from carillon_core.ports import JSONObject
from carillon_core.resources.names import KIND, PLURAL

SUSPEND = problem_responses(
    Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT, Kind.PRECONDITION_FAILED, Kind.REFUSED
)
DELETE = problem_responses(Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.PRECONDITION_FAILED)
EXAMPLE: JSONObject = {
    "name": "nightly-report",
    "labels": {"team": "reporting"},
    "spec": {
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Berlin",
        "task": {"http": {"url": "https://example.com/report", "method": "POST"}},
    },
}

NEXT_RUNS, NEXT_RUNS_IN_A_LIST = 5, 1
"""How many of its next times a task is shown with."""

router = APIRouter(tags=["tasks"])


@router.post(
    "/tasks",
    operation_id="createTask",
    summary="Create a task in the default namespace",
    status_code=201,
    responses=created("The task as stored") | CREATE,
    openapi_extra=body_of(TaskCreate, EXAMPLE),
)
async def create_task(
    ctx: Ctx, response: Response, body: Annotated[TaskCreate, Depends(json_body(TaskCreate))]
) -> TaskView:
    """Create a ScheduledTask in the API's default namespace."""
    return await _create(ctx, response, ctx.settings.default_namespace, body)


@router.post(
    "/namespaces/{namespace}/tasks",
    operation_id="createNamespacedTask",
    summary="Create a task",
    status_code=201,
    responses=created("The task as stored") | CREATE,
    openapi_extra=body_of(TaskCreate, EXAMPLE),
)
async def create_namespaced_task(
    ctx: Ctx, response: Response, namespace: Namespace, body: Annotated[TaskCreate, Depends(json_body(TaskCreate))]
) -> TaskView:
    """Create a ScheduledTask in the given namespace."""
    return await _create(ctx, response, namespace, body)


@router.get("/tasks", operation_id="listTasks", summary="List tasks", responses=LIST)
async def list_tasks(ctx: Ctx, query: Annotated[AllTasksQuery, Query()]) -> TaskList:
    """List tasks, one page per request. Continue with nextCursor until it is null, even if a page is empty."""
    return await _list(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/tasks",
    operation_id="listNamespacedTasks",
    summary="List tasks in a namespace",
    responses=LIST,
)
async def list_namespaced_tasks(ctx: Ctx, namespace: Namespace, query: Annotated[TaskQuery, Query()]) -> TaskList:
    """List tasks, one page per request. Continue with nextCursor until it is null, even if a page is empty."""
    return await _list(ctx, namespace, query)


@router.get(
    "/namespaces/{namespace}/tasks/{name}",
    operation_id="getTask",
    summary="Get a task",
    responses=versioned("The task") | READ,
)
async def get_task(ctx: Ctx, response: Response, namespace: Namespace, name: TaskName) -> TaskView:
    """Return a task: its spec, and its status as reported by the operator."""
    return _answers(ctx).of(response, await ctx.tasks.get(namespace, name))


@router.put(
    "/namespaces/{namespace}/tasks/{name}",
    operation_id="replaceTask",
    summary="Replace a task's spec",
    responses=versioned("The updated task") | EDIT,
    openapi_extra=body_of(TaskReplace, {"spec": EXAMPLE["spec"]}),
)
async def replace_task(
    ctx: Ctx,
    response: Response,
    namespace: Namespace,
    name: TaskName,
    precondition: Precondition,
    body: Annotated[TaskReplace, Depends(json_body(TaskReplace))],
) -> TaskView:
    """Replace the spec, and the labels if given. The other metadata stays as it is."""
    change = partial(replaced_object, body=body, now=ctx.clock())
    return await _answers(ctx).changed(
        ctx, response, "update", await edit_object(ctx.tasks, namespace, name, precondition, change)
    )


@router.patch(
    "/namespaces/{namespace}/tasks/{name}",
    operation_id="patchTask",
    summary="Patch a task",
    responses=versioned("The updated task") | EDIT,
    openapi_extra=body_of(TaskPatch, {"spec": {"suspend": True}}, "application/merge-patch+json"),
)
async def patch_task(
    ctx: Ctx,
    response: Response,
    namespace: Namespace,
    name: TaskName,
    precondition: Precondition,
    body: Annotated[TaskPatch, Depends(json_body(TaskPatch))],
) -> TaskView:
    """Apply a JSON merge patch (RFC 7396) to labels and spec. The result is validated like a new task."""
    change = partial(patched_object, patch=body, now=ctx.clock())
    return await _answers(ctx).changed(
        ctx, response, "update", await edit_object(ctx.tasks, namespace, name, precondition, change)
    )


@router.post(
    "/namespaces/{namespace}/tasks/{name}/pause",
    operation_id="pauseTask",
    summary="Pause a task",
    responses=versioned("The suspended task") | SUSPEND,
)
async def pause_task(
    ctx: Ctx, response: Response, namespace: Namespace, name: TaskName, precondition: Precondition
) -> TaskView:
    """Launch nothing until the task is resumed. Active executions continue. Pausing a suspended task has no effect."""
    change = await set_suspended(ctx.tasks, namespace, name, precondition, suspended=True)
    return await _answers(ctx).changed(ctx, response, "suspend", change)


@router.post(
    "/namespaces/{namespace}/tasks/{name}/resume",
    operation_id="resumeTask",
    summary="Resume a task",
    responses=versioned("The resumed task") | SUSPEND,
)
async def resume_task(
    ctx: Ctx, response: Response, namespace: Namespace, name: TaskName, precondition: Precondition
) -> TaskView:
    """Launch again from the next slot on; slots that passed in the meantime are not run. Idempotent."""
    change = await set_suspended(ctx.tasks, namespace, name, precondition, suspended=False)
    return await _answers(ctx).changed(ctx, response, "resume", change)


@router.delete(
    "/namespaces/{namespace}/tasks/{name}",
    operation_id="deleteTask",
    summary="Delete a task",
    response_model=DeletionDryRun,
    responses=deleted("The task is deleted") | DELETE,
)
async def remove_task(
    ctx: Ctx, namespace: Namespace, name: TaskName, precondition: Precondition
) -> DeletionDryRun | Response:
    """Delete a task and, in the background, its Jobs. Its history stays."""
    before = await delete_object(ctx.tasks, namespace, name, precondition)
    if ctx.dry_run:
        return await task_deletion(ctx, before)
    await ctx.record_change("delete", PLURAL, before, None)
    return Response(status_code=204)


def _answers(ctx: Context) -> Answers[TaskView]:
    return Answers(PLURAL, "tasks", _view(ctx, NEXT_RUNS), task_dry_run)


def _view(ctx: Context, count: int) -> Callable[[JSONObject], TaskView]:
    """Return what makes the view of a task, with as many of its next times."""
    now = ctx.clock()
    # what a dry run answers has the generation that another edit may get
    timetables = Timetables() if ctx.dry_run else ctx.backends.timetables
    return partial(task_view, window=Window(now, now, None, count), timetables=timetables)


async def _create(ctx: Context, response: Response, namespace: str, body: TaskCreate) -> TaskView:
    return await _answers(ctx).created(
        ctx, response, await ctx.tasks.create(namespace, new_object(body, namespace, ctx.clock()))
    )


async def _list(ctx: Context, namespace: str | None, query: TaskQuery) -> TaskList:
    part = await page_of(ctx.tasks, KIND, namespace, query, partial(is_wanted, query=query))
    view = _view(ctx, NEXT_RUNS_IN_A_LIST)
    # the first look at a schedule takes longer than the rest, and would hold up other requests
    items = await asyncio.to_thread(lambda: [view(raw) for raw in part.items])
    return TaskList(items=items, next_cursor=part.next_cursor)
