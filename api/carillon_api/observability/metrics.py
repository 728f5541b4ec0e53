"""The facade's Prometheus metrics; ``create_app`` creates one ``Metrics`` for each app.

Metrics of the history are read from the database on a scrape and cached for
some seconds. If the database is unavailable, a scrape takes at most
``HISTORY_SECONDS`` longer, and ``carillon_history_up`` is 0.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from carillon_core.contract import ExecutionStatus
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.metric_definition import MetricDefinition
from carillon_core.ports import HistoryReader, HistorySummary

WINDOWS: Mapping[str, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
"""How far back executions are counted."""
KEPT_SECONDS = 10.0
"""How long the metrics of the history are cached."""
HISTORY_SECONDS = 2.0
"""How long a scrape waits for the database; Prometheus' own timeout is ten seconds."""
NO_ROUTE = "none"
"""The route label of a request to an unknown path, which must not become a label itself."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

log = get_logger(__name__)


REQUESTS = MetricDefinition(
    "carillon_api_requests", "counter", "Requests, by method, route template and status.", ("method", "route", "status")
)
REQUEST_SECONDS = MetricDefinition(
    "carillon_api_request_duration_seconds",
    "histogram",
    "Duration of requests, from the headers to the last byte of the response; for streams, to the first byte.",
    ("method", "route"),
)
IN_FLIGHT = MetricDefinition("carillon_api_requests_in_flight", "gauge", "Requests in progress.")
STREAMS = MetricDefinition("carillon_api_event_streams", "gauge", "Open streams of /api/v1/events.")
CALL_SECONDS = MetricDefinition(
    "carillon_api_server_call_duration_seconds",
    "histogram",
    "Duration of calls to the API server; status is none if there was no response.",
    ("method", "status"),
)
HISTORY_UP = MetricDefinition(
    "carillon_history_up", "gauge", "1 if the last query of the history succeeded, otherwise 0."
)
EXECUTIONS = MetricDefinition(
    "carillon_executions",
    "gauge",
    "Executions with a slot in the last hour or day, by status.",
    ("window", "status"),
)
DEAD_LETTERS = MetricDefinition(
    "carillon_dead_letters",
    "gauge",
    "Executions with a slot in the last hour or day that failed or timed out and were not retried.",
    ("window",),
)
RUNNING = MetricDefinition("carillon_executions_running", "gauge", "Running executions, regardless of their slot.")
PARTITIONS = MetricDefinition("carillon_history_partitions", "gauge", "Monthly partitions of the history.")
UNPARTITIONED = MetricDefinition(
    "carillon_history_default_partition_executions",
    "gauge",
    "Executions whose slots are outside of the months of the history; the last maintenance left them in the default"
    " partition.",
)
MAINTAINED = MetricDefinition(
    "carillon_history_maintained_timestamp_seconds",
    "gauge",
    "Unix time of the last successful maintenance of the history; missing if there was none.",
)
MAINTENANCE_FAILING = MetricDefinition(
    "carillon_history_maintenance_failing", "gauge", "1 if the last maintenance of the history failed, otherwise 0."
)
OWN_METRICS = (REQUESTS, REQUEST_SECONDS, IN_FLIGHT, STREAMS, CALL_SECONDS)
HISTORY_METRICS = (
    HISTORY_UP,
    EXECUTIONS,
    DEAD_LETTERS,
    RUNNING,
    PARTITIONS,
    UNPARTITIONED,
    MAINTAINED,
    MAINTENANCE_FAILING,
)


class Metrics:
    """The facade's metrics, in their own registry."""

    def __init__(self) -> None:
        """Start at zero, without metrics of the history."""
        self.registry = CollectorRegistry()
        self._requests = Counter(REQUESTS.name, REQUESTS.description, REQUESTS.labels, registry=self.registry)
        self._seconds = self._histogram(REQUEST_SECONDS)
        self._in_flight = Gauge(IN_FLIGHT.name, IN_FLIGHT.description, registry=self.registry)
        self._streams = Gauge(STREAMS.name, STREAMS.description, registry=self.registry)
        self._calls = self._histogram(CALL_SECONDS)
        self.history = HistoryNumbers()
        self.registry.register(self.history)
        ProcessCollector(registry=self.registry)

    def _histogram(self, described: MetricDefinition) -> Histogram:
        return Histogram(
            described.name, described.description, described.labels, buckets=BUCKETS, registry=self.registry
        )

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as in progress until the block ends."""
        with self._in_flight.track_inprogress():
            yield

    def stream_began(self) -> None:
        """Count a stream as open."""
        self._streams.inc()

    def stream_ended(self) -> None:
        """Count it no longer."""
        self._streams.dec()

    def request_ended(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Count a request; status is None if there was no response."""
        shown, where = method if method in METHODS else "other", route or NO_ROUTE
        self._requests.labels(shown, where, str(status or "none")).inc()
        self._seconds.labels(shown, where).observe(seconds)

    def call_ended(self, method: str, status: int | None, seconds: float) -> None:
        """Count a call to the API server; status is None if there was no response."""
        self._calls.labels(method, str(status or "none")).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A summary of the history for each window."""

    windows: Mapping[str, HistorySummary]

    @property
    def latest(self) -> HistorySummary:
        """Any of the summaries, for the values that do not depend on the window."""
        return self.windows["hour"]


async def numbers_of(reader: HistoryReader, now: datetime, namespace: str | None = None) -> Numbers:
    """Return a summary for each window, of one namespace or of all; raises the errors of ``HistoryReader.summary``."""
    namespaces = () if namespace is None else (namespace,)
    return Numbers({name: await reader.summary(now - length, namespaces) for name, length in WINDOWS.items()})


class HistoryNumbers:
    """A collector of the history's metrics, as ``refresh`` has read them last."""

    def __init__(self) -> None:
        """Start without values."""
        self._numbers: Numbers | None = None
        self._read_at: float | None = None
        self._turn = asyncio.Lock()

    async def refresh(self, reader: HistoryReader, now: datetime) -> None:
        """Read values older than ``KEPT_SECONDS`` again, once for concurrent scrapes; this neither fails nor hangs."""
        async with self._turn:
            if self._read_at is not None and time.monotonic() - self._read_at < KEPT_SECONDS:
                return
            try:
                async with asyncio.timeout(HISTORY_SECONDS):
                    self._numbers = await numbers_of(reader, now)
            except (TimeoutError, CarillonError) as error:
                why = str(error) or f"no answer within {HISTORY_SECONDS:g} s"
                log.warning("database unavailable, metrics of the history are missing", why=why)
                self._numbers = None
            # a failure is cached for as long, so that not every scrape queries an unavailable database
            self._read_at = time.monotonic()

    @property
    def latest(self) -> HistorySummary | None:
        """The summary that was read last; None if the history was unavailable."""
        return None if self._numbers is None else self._numbers.latest

    def forget(self) -> None:
        """Make the next ``refresh`` read the values again."""
        self._read_at = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; if the history is unavailable, only ``carillon_history_up`` has a value."""
        up, executions, dead = _gauge(HISTORY_UP), _gauge(EXECUTIONS), _gauge(DEAD_LETTERS)
        up.add_metric([], float(self._numbers is not None))
        for window, summary in (self._numbers.windows if self._numbers else {}).items():
            dead.add_metric([window], summary.dead_letters)
            for status in ExecutionStatus:
                executions.add_metric([window, status.word], summary.by_status.get(status, 0))
        yield from (up, executions, dead)
        yield from _history_state(self._numbers.latest if self._numbers else None)


def _history_state(summary: HistorySummary | None) -> Iterator[Metric]:
    running, partitions, unpartitioned = _gauge(RUNNING), _gauge(PARTITIONS), _gauge(UNPARTITIONED)
    maintained, failing = _gauge(MAINTAINED), _gauge(MAINTENANCE_FAILING)
    if summary is not None:
        running.add_metric([], summary.running)
        partitions.add_metric([], summary.partitions)
        unpartitioned.add_metric([], summary.unpartitioned)
        failing.add_metric([], float(summary.maintenance_error is not None))
        if summary.maintained_at is not None:
            maintained.add_metric([], summary.maintained_at.timestamp())
    yield from (running, partitions, unpartitioned, maintained, failing)


def _gauge(definition: MetricDefinition) -> GaugeMetricFamily:
    """Return a metric family without samples, for a collector."""
    return GaugeMetricFamily(definition.name, definition.description, labels=definition.labels)
