"""The expected load, and less busy times for a task."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from carillon_api.http.bodies import json_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import body_of
from carillon_api.routes.dependencies import Ctx, Namespace
from carillon_api.schemas.reports.load import AllLoadQuery, Load, LoadQuery
from carillon_api.schemas.reports.spread import Spread, SpreadBody, SpreadQuery
from carillon_api.services.reports.load import load
from carillon_api.services.reports.spread import spread
from carillon_core.ports import JSONObject

RESPONSES = problem_responses(Kind.FORBIDDEN)
SUGGEST = problem_responses(Kind.MALFORMED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.FORBIDDEN, Kind.NOT_FOUND)
EXAMPLE: JSONObject = {
    "spec": {"schedule": "0 2 * * *", "task": {"http": {"url": "https://example.com/report"}}},
    "withinSeconds": 1800,
}

router = APIRouter(tags=["reports"])


@router.get(
    "/namespaces/{namespace}/load",
    operation_id="getNamespacedLoad",
    summary="Get the expected load in a namespace",
    responses=RESPONSES,
)
async def get_namespaced_load(ctx: Ctx, namespace: Namespace, query: Annotated[LoadQuery, Query()]) -> Load:
    """Return the number of scheduled launches per minute, and the tasks behind the busiest minutes.

    Expected durations are included if the caller may list executions. Requires permission to list tasks.
    """
    return await load(ctx, namespace, query)


@router.get("/load", operation_id="getLoad", summary="Get the expected load", responses=RESPONSES)
async def get_load(ctx: Ctx, query: Annotated[AllLoadQuery, Query()]) -> Load:
    """Return the expected launches per minute in one namespace or in all.

    The tasks behind the busiest minutes are included, and expected durations if the caller may list executions.
    Requires permission to list tasks: without a namespace, in all of them.
    """
    return await load(ctx, query.namespace, query)


@router.post(
    "/namespaces/{namespace}/load/suggest",
    operation_id="suggestNamespacedOffset",
    summary="Suggest a less busy time for a task in a namespace",
    responses=SUGGEST,
    openapi_extra=body_of(SpreadBody, EXAMPLE),
)
async def suggest_namespaced_offset(
    ctx: Ctx, namespace: Namespace, body: Annotated[SpreadBody, Depends(json_body(SpreadBody))]
) -> Spread:
    """Return how to move a task's slots so that they share their minutes with the fewest launches in the namespace.

    Nothing is stored. Requires permission to list tasks, and to get the task if the body names one.
    """
    return await spread(ctx, namespace, body)


@router.post(
    "/load/suggest",
    operation_id="suggestOffset",
    summary="Suggest a less busy time for a task",
    responses=SUGGEST,
    openapi_extra=body_of(SpreadBody, EXAMPLE),
)
async def suggest_offset(
    ctx: Ctx, query: Annotated[SpreadQuery, Query()], body: Annotated[SpreadBody, Depends(json_body(SpreadBody))]
) -> Spread:
    """Return how to move a task's slots so that they share their minutes with the fewest launches.

    The launches are those in one namespace or in all. Nothing is stored. Requires permission to list tasks (without a
    namespace, in all of them), and to get the task if the body names one.
    """
    return await spread(ctx, query.namespace, body)
