"""The load to come."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace
from carillon_api.schemas.reports.load import AllLoadQuery, Load, LoadQuery
from carillon_api.services.reports.load import load

RESPONSES = problem_responses(Kind.FORBIDDEN)

router = APIRouter(tags=["reports"])


@router.get(
    "/namespaces/{namespace}/load",
    operation_id="getNamespacedLoad",
    summary="Get the load to come in a namespace",
    responses=RESPONSES,
)
async def get_namespaced_load(ctx: Ctx, namespace: Namespace, query: Annotated[LoadQuery, Query()]) -> Load:
    """Return how many launches each minute has according to the schedules, and which tasks make the busiest ones.

    The time that they take is included if the caller may list executions. Requires permission to list tasks.
    """
    return await load(ctx, namespace, query)


@router.get("/load", operation_id="getLoad", summary="Get the load to come", responses=RESPONSES)
async def get_load(ctx: Ctx, query: Annotated[AllLoadQuery, Query()]) -> Load:
    """Return the same for all namespaces, or one. Without a namespace, the caller needs permission in all of them."""
    return await load(ctx, query.namespace, query)
