"""Why a task ran, or did not, at a time; and the revisions of its spec."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace, TaskName
from carillon_api.schemas.reports.why import RevisionList, RevisionsQuery, Why, WhyQuery
from carillon_api.services.reports.why import revision_page, why

RESPONSES = problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND)

router = APIRouter(tags=["reports"])


@router.get(
    "/namespaces/{namespace}/tasks/{name}/why",
    operation_id="explainTask",
    summary="Explain what happened to a task at a time",
    responses=RESPONSES,
)
async def explain_task(ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[WhyQuery, Query()]) -> Why:
    """Return what should have happened at a time, according to the task's spec at that time, what did, and why.

    A time in the future is explained by the current spec. A deleted task is explained as long as its history is kept.
    Requires permission to get the task and to list executions in the namespace.
    """
    return await why(ctx, namespace, name, query.at)


@router.get(
    "/namespaces/{namespace}/tasks/{name}/revisions",
    operation_id="listTaskRevisions",
    summary="List the revisions of a task's spec",
    responses=RESPONSES,
)
async def list_task_revisions(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[RevisionsQuery, Query()]
) -> RevisionList:
    """List the specs that a task has had, newest first. A new one appears within seconds.

    The revisions of deleted tasks with this name are included, as long as the history is kept. Requires permission to
    get the task.
    """
    return await revision_page(ctx, namespace, name, query)
