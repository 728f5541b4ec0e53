"""The facade's and the history's numbers: for Prometheus, and for people."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from carillon_api.auth.authentication import Caller
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.http.public_paths import METRICS
from carillon_api.observability.metrics import Metrics, numbers_of
from carillon_api.openapi_document.described import plain_text
from carillon_api.routes.dependencies import Backend, Ctx
from carillon_api.schemas import SummaryQuery, SummaryView, WindowView
from carillon_api.services.context import Backends
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.access.subjects import Access
from carillon_core.errors import ForbiddenError
from carillon_core.ports import HistorySummary

router = APIRouter(tags=["metrics"])
scrape_router = APIRouter(tags=["health"])


@scrape_router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="The facade's metrics for Prometheus",
    response_class=Response,
    responses=plain_text("Prometheus' text format") | problem_responses(Kind.FORBIDDEN),
)
async def get_metrics(given: Backend, request: Request) -> Response:
    """Return the facade's own numbers, and what the history says; without the history, that it is away.

    Everybody may read them; or, if the facade is set to that, who may get the path /metrics (RBAC's nonResourceURLs).
    """
    if not given.settings.metrics_public:
        await _check_may_scrape(given, request.state.caller)
    metrics: Metrics = request.app.state.metrics
    await metrics.history.refresh(given.executions, given.clock())
    return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _check_may_scrape(given: Backends, caller: Caller) -> None:
    decision = await given.access.review(caller.subject, Access(verb="get", resource="", path=METRICS))
    if not decision.allowed:
        mend = f'a ClusterRole with nonResourceURLs: ["{METRICS}"] and verbs: ["get"] allows it'
        raise ForbiddenError(f'User "{caller.subject.name}" cannot get path "{METRICS}": {mend}')


@router.get(
    "/metrics",
    operation_id="getSummary",
    summary="Count executions",
    responses=problem_responses(Kind.FORBIDDEN),
)
async def get_summary(ctx: Ctx, query: Annotated[SummaryQuery, Query()]) -> SummaryView:
    """Return how many executions of the last hour and day there are of each status; as one may list them."""
    await ctx.authorize("list", namespace=query.namespace)
    numbers = await numbers_of(ctx.executions, ctx.clock(), query.namespace)
    latest = numbers.latest
    return SummaryView(
        namespace=query.namespace,
        running=latest.running,
        hour=_window(numbers.windows["hour"]),
        day=_window(numbers.windows["day"]),
        partitions=latest.partitions,
        maintained_at=latest.maintained_at,
        maintenance_failing=latest.maintenance_error is not None,
    )


def _window(summary: HistorySummary) -> WindowView:
    counts = {str(status): summary.by_status.get(status, 0) for status in ExecutionStatus}
    return WindowView(since=summary.since, executions=counts, dead_letters=summary.dead_letters)
