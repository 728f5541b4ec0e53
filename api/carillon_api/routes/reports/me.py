"""The caller and its permissions."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx
from carillon_api.schemas.reports.me import CallerQuery, CallerView
from carillon_api.services.reports.me import caller_view

router = APIRouter(tags=["me"])


@router.get(
    "/me",
    operation_id="getCaller",
    summary="Get the caller's permissions",
    responses=problem_responses(Kind.NOT_SERVED),
)
async def get_caller(ctx: Ctx, query: Annotated[CallerQuery, Query()]) -> CallerView:
    """Return the caller's user name and groups, and the verbs that the cluster's RBAC allows in each namespace.

    A user interface can use this to hide what the caller may not do. Every call is still authorized. Requires no
    permission.
    """
    return await caller_view(ctx, query.namespace)
