"""Runs outside the schedule: create, list, get, delete. In the cluster, a run is a RunRequest."""

from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Response

from carillon_api.http.bodies import optional_json_body
from carillon_api.http.paging import page_of
from carillon_api.http.preconditions import etag
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import accepted, deleted, optional_body_of, versioned
from carillon_api.routes.dependencies import Ctx, IdempotencyKey, Namespace, Precondition, RunName, TaskName
from carillon_api.schemas import AllRunsQuery, RunList, RunQuery, RunView, TaskRun
from carillon_api.schemas.changes.dry_runs import DeletionDryRun
from carillon_api.services.changes.dry_runs import run_deletion
from carillon_api.services.context import Context
from carillon_api.services.edits import delete_object
from carillon_api.services.run_requests import run_scheduled_task
from carillon_api.views.runs import is_wanted_run, run_view
from carillon_core.resources.names import KIND_REQUEST, PLURAL_REQUESTS

READ = problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND)
LIST = problem_responses(Kind.FORBIDDEN, Kind.EXPIRED)
DELETE = problem_responses(Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.PRECONDITION_FAILED, Kind.CONFLICT)
RUN = problem_responses(
    Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.REFUSED
)

router = APIRouter(tags=["runs"])


@router.post(
    "/namespaces/{namespace}/tasks/{name}/run",
    operation_id="runTask",
    summary="Run a task now",
    status_code=202,
    responses=accepted("The run as stored; the operator decides whether to launch it") | RUN,
    openapi_extra=optional_body_of(TaskRun, {"parameters": {"a": 40}, "concurrencyPolicy": "Allow"}),
)
async def run_task(
    ctx: Ctx,
    response: Response,
    namespace: Namespace,
    name: TaskName,
    body: Annotated[TaskRun, Depends(optional_json_body(TaskRun))],
    key: IdempotencyKey = None,
) -> RunView:
    """Request a run of a task, now or at a given time, outside its schedule. Returns the ID of its execution.

    Requires permission to create RunRequests. If the caller may also read the task, a missing task or an unknown
    parameter is refused at once.
    """
    view = await run_scheduled_task(ctx, namespace, name, body, key)
    if ctx.dry_run:
        return view
    response.headers["Location"] = f"/api/v1/namespaces/{quote(view.namespace)}/runs/{quote(view.name)}"
    return view


@router.get("/runs", operation_id="listRuns", summary="List runs", responses=LIST)
async def list_runs(ctx: Ctx, query: Annotated[AllRunsQuery, Query()]) -> RunList:
    """List requested runs, one page per request. Finished runs are removed after some time."""
    return await _list(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/runs",
    operation_id="listNamespacedRuns",
    summary="List runs in a namespace",
    responses=LIST,
)
async def list_namespaced_runs(ctx: Ctx, namespace: Namespace, query: Annotated[RunQuery, Query()]) -> RunList:
    """List requested runs, one page per request. Finished runs are removed after some time."""
    return await _list(ctx, namespace, query)


@router.get(
    "/namespaces/{namespace}/runs/{name}",
    operation_id="getRun",
    summary="Get a run",
    responses=versioned("The run") | READ,
)
async def get_run(ctx: Ctx, response: Response, namespace: Namespace, name: RunName) -> RunView:
    """Return a run: whether it was accepted and why, and the state of its execution."""
    view = run_view(await ctx.requests.get(namespace, name))
    response.headers["ETag"] = etag(view.resource_version)
    return view


@router.delete(
    "/namespaces/{namespace}/runs/{name}",
    operation_id="deleteRun",
    summary="Delete a run",
    response_model=DeletionDryRun,
    responses=deleted("The run is deleted") | DELETE,
)
async def remove_run(
    ctx: Ctx, namespace: Namespace, name: RunName, precondition: Precondition
) -> DeletionDryRun | Response:
    """Delete a run, and cancel it if it has not ended. Its execution stays in the history."""
    before = await delete_object(ctx.requests, namespace, name, precondition)
    if ctx.dry_run:
        return run_deletion(before)
    await ctx.record_change("delete", PLURAL_REQUESTS, before, None)
    return Response(status_code=204)


async def _list(ctx: Context, namespace: str | None, query: RunQuery) -> RunList:
    part = await page_of(ctx.requests, KIND_REQUEST, namespace, query, partial(is_wanted_run, query=query))
    return RunList(items=[run_view(raw) for raw in part.items], next_cursor=part.next_cursor)
