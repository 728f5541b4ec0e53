"""The probes: liveness and readiness."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from carillon_api.http.problems import MEDIA_TYPE, RETRY_AFTER_SECONDS, Kind, problem_response
from carillon_api.observability.metrics import Metrics
from carillon_api.observability.readiness import failures_of
from carillon_api.routes.dependencies import Backend
from carillon_api.schemas import Health, Readiness, SystemHealth
from carillon_api.services.probes import readiness_checks, system_health_of

_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "The database or the API server is unavailable; see checks", "content": _PROBLEM}
}
UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"description": "The database or the API server is unavailable; see detail", "content": _PROBLEM}
}

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="getHealth", summary="Check that the process is alive")
async def healthz() -> Health:
    """Respond even if a dependency is unavailable: a restart would not help."""
    return Health()


@router.get(
    "/api/v1/health",
    operation_id="getSystemHealth",
    summary="Get the state of the system",
    response_model=SystemHealth,
    responses=UNHEALTHY,
)
async def system_health(given: Backend, request: Request) -> SystemHealth | JSONResponse:
    """Say which parts of the system work, as far as the API can tell. Public, like /readyz, and without reasons."""
    down = [check.name for check in await given.readiness.checks(lambda: readiness_checks(given)) if not check.ok]
    if down:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        detail = "; ".join(f"{name} is down" for name in down)
        return problem_response(request.scope, Kind.UNAVAILABLE, detail, headers=headers)
    metrics: Metrics = request.app.state.metrics
    await metrics.history.refresh(given.executions, given.clock())
    return system_health_of(metrics.history.latest, given.clock())


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
