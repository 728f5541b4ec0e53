"""A task's statistics as a response."""

from dataclasses import asdict

from carillon_api.schemas.reports.statistics import PercentilesView, ResultView, TaskStatistics
from carillon_core.contract import ExecutionStatus
from carillon_core.ports import Percentiles, ReportQuery, Statistics

RATED = (ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT)
"""The statuses of which the success rate is a fraction."""
RATE_DIGITS = 6


def statistics_view(query: ReportQuery, found: Statistics) -> TaskStatistics:
    """Return a task's statistics; every status has a count."""
    rated = sum(found.by_status.get(status, 0) for status in RATED)
    succeeded = found.by_status.get(ExecutionStatus.SUCCEEDED, 0)
    return TaskStatistics(
        namespace=query.namespace or "",
        task=query.task or "",
        from_=query.since,
        to=query.until,
        executions={status.word: found.by_status.get(status, 0) for status in ExecutionStatus},
        success_rate=round(succeeded / rated, RATE_DIGITS) if rated else None,
        duration_seconds=_percentiles(found.durations),
        latency_seconds=_percentiles(found.latencies),
        complete=found.complete,
        results=[ResultView(id=m.id, slot=m.slot, status=m.status, reason=m.reason) for m in found.latest],
    )


def _percentiles(found: Percentiles | None) -> PercentilesView | None:
    return None if found is None else PercentilesView(**asdict(found))
