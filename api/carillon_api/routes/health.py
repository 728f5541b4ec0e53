"""The probes: liveness and readiness."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from carillon_api.http.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Kind, problem_response
from carillon_api.observability.readiness import failures_of
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


@router.get("/healthz", operation_id="getHealth", summary="Check that the process is alive")
async def healthz() -> Health:
    """Respond even if a dependency is unavailable: a restart would not help."""
    return Health()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Check that the database and the API server are available",
    response_model=Readiness,
    responses=NOT_READY,
)
async def readyz(given: Backend, request: Request) -> Readiness | JSONResponse:
    """Ping the database and the API server, and return the state of each."""
    # The path is public and not rate limited: concurrent probes share one check and its connections.
    checks = await given.readiness.checks(lambda: readiness_checks(given))
    detail = failures_of(checks)
    if not detail:
        return Readiness(checks=list(checks))
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem_response(request.scope, Kind.UNAVAILABLE, detail, headers=headers, checks=list(checks))
