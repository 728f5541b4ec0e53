"""A timeline of past executions and planned slots."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace
from carillon_api.schemas.reports.timeline import AllTimelineQuery, Timeline, TimelineQuery
from carillon_api.services.reports.timeline import timeline

RESPONSES = problem_responses(Kind.FORBIDDEN)

router = APIRouter(tags=["reports"])


@router.get(
    "/namespaces/{namespace}/timeline",
    operation_id="getNamespacedTimeline",
    summary="Get a timeline of past executions and planned slots in a namespace",
    responses=RESPONSES,
)
async def get_namespaced_timeline(ctx: Ctx, namespace: Namespace, query: Annotated[TimelineQuery, Query()]) -> Timeline:
    """Return the executions of a range and the slots that are planned in it, or their number by bucket.

    Requires permission to list executions, and tasks if the range reaches into the future.
    """
    return await timeline(ctx, namespace, query)


@router.get(
    "/timeline",
    operation_id="getTimeline",
    summary="Get a timeline of past executions and planned slots",
    responses=RESPONSES,
)
async def get_timeline(ctx: Ctx, query: Annotated[AllTimelineQuery, Query()]) -> Timeline:
    """Return the executions and planned slots in one namespace or in all, or their number by bucket.

    Requires permission to list executions, and tasks if the range reaches into the future: without a namespace, in all
    of them.
    """
    return await timeline(ctx, query.namespace, query)
