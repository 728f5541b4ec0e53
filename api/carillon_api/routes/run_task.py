"""One-off tasks: run a task at once, and get its output later."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response

from carillon_api.http.bodies import chosen_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import accepted, body_of
from carillon_api.routes.dependencies import Ctx, IdempotencyKey
from carillon_api.schemas import RUN_TYPES, RunAccepted, RunTask, RunTaskQuery, TaskOutput, TaskOutputQuery
from carillon_api.schemas.run_task import AnyRun
from carillon_api.services.run_requests import run_unscheduled_task, task_output

RUN = problem_responses(
    Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.REFUSED
)
POLL_SECONDS = 1
"""The value of Retry-After until a run has ended."""

router = APIRouter(tags=["run-task"])


@router.post(
    "/run-task",
    operation_id="runOwnTask",
    summary="Run a one-off task",
    status_code=202,
    responses=accepted("A run was requested; pass its ID to get-task-output") | RUN,
    openapi_extra=body_of(RunTask, {"task_name": "sum", "a": 1, "b": 2}),
)
async def run_own_task(
    ctx: Ctx,
    response: Response,
    query: Annotated[RunTaskQuery, Query()],
    body: Annotated[AnyRun, Depends(chosen_body("task_name", RUN_TYPES))],
    key: IdempotencyKey = None,
) -> RunAccepted:
    """Run a task without a ScheduledTask, and return at once. Poll get-task-output, or the URL in Location."""
    namespace = query.namespace or ctx.settings.default_namespace
    answer = await run_unscheduled_task(ctx, namespace, body, key)
    if ctx.dry_run:
        return answer
    where = {"id": str(answer.id), "namespace": answer.namespace, "run": answer.run}
    response.headers["Location"] = f"/api/v1/get-task-output?{urlencode(where)}"
    return answer


@router.get(
    "/get-task-output",
    operation_id="getTaskOutput",
    summary="Get the output of a run",
    responses=problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND),
)
async def get_task_output(ctx: Ctx, response: Response, query: Annotated[TaskOutputQuery, Query()]) -> TaskOutput:
    """Return the state of a run and, once it has ended, its output or its error. Poll once a second until then.

    A run is found as soon as it is accepted, and is pending until a pod has started it. The ID of any execution is
    accepted, including scheduled ones.

    If the caller may not read the execution, the response is 404, as for an unknown ID.
    """
    output = await task_output(ctx, query)
    if output.status in {"pending", "running"}:
        response.headers["Retry-After"] = str(POLL_SECONDS)
    return output
