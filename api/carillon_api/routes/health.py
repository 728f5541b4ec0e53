"""Probes: liveness and readiness."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from carillon_api.http.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Kind, problem_response
from carillon_api.observability.readiness import lacking
from carillon_api.routes.dependencies import Backend
from carillon_api.schemas import Health, Readiness
from carillon_api.services.probes import readiness_checks

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "The database or the API server is unavailable; see checks",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="getHealth", summary="Liveness")
async def healthz() -> Health:
    """Return 200 while the process serves requests, even if its dependencies are unavailable."""
    return Health()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Readiness",
    response_model=Readiness,
    responses=NOT_READY,
)
async def readyz(given: Backend, request: Request) -> Readiness | JSONResponse:
    """Check the database and the API server, and return the result of each."""
    # The path is public and not rate limited: concurrent probes share one check and its connections.
    checks = await given.readiness.checks(lambda: readiness_checks(given))
    detail = lacking(checks)
    if not detail:
        return Readiness(checks=list(checks))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_response(request.scope, Kind.UNAVAILABLE, detail, headers=headers, checks=list(checks))
