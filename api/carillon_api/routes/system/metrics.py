"""Metrics of the API for Prometheus, and counts of executions as JSON."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.observability.metrics import Metrics
from carillon_api.openapi_document.described import plain_text
from carillon_api.routes.dependencies import Backend, Ctx
from carillon_api.schemas import SummaryQuery, SummaryView
from carillon_api.services.context import Backends
from carillon_api.services.history import summary
from carillon_api.services.probes import check_may_scrape

router = APIRouter(tags=["metrics"])
scrape_router = APIRouter(tags=["health"])


@scrape_router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses=plain_text("Metrics in Prometheus' text format") | problem_responses(Kind.FORBIDDEN),
)
async def get_metrics(given: Backend, request: Request) -> Response:
    """Return the API's own metrics and those of the history; if the history is unavailable, a metric says so.

    By default, they are public. A setting restricts them to callers that may get /metrics (RBAC nonResourceURLs).
    """
    return await _exposition(given, request)


@router.get(
    "/metrics/prometheus",
    operation_id="getMetricsForPrometheus",
    summary="Get metrics for Prometheus under the API's own path",
    response_class=Response,
    responses=plain_text("Metrics in Prometheus' text format") | problem_responses(Kind.FORBIDDEN),
)
async def get_metrics_for_prometheus(given: Backend, request: Request) -> Response:
    """Return the same metrics as /metrics, to the same callers, for clients that reach only paths below /api."""
    return await _exposition(given, request)


async def _exposition(given: Backends, request: Request) -> Response:
    if not given.settings.metrics_public:
        await check_may_scrape(given, request.state.caller)
    metrics: Metrics = request.app.state.metrics
    await metrics.history.refresh(given.executions, given.clock())
    return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get(
    "/metrics",
    operation_id="getSummary",
    summary="Count executions",
    responses=problem_responses(Kind.FORBIDDEN),
)
async def get_summary(ctx: Ctx, query: Annotated[SummaryQuery, Query()]) -> SummaryView:
    """Return the number of executions of the last hour and day by status. Requires permission to list executions."""
    return await summary(ctx, query.namespace)
