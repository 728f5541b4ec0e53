"""What the facade counts, in Prometheus' terms; ``create_app`` makes one ``Metrics`` for each app.

What the history says is read when somebody asks for the metrics, and kept for
some seconds. A database that is away or hangs costs a scrape
``HISTORY_SECONDS`` at most, and then ``carillon_history_up`` is 0.
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
from carillon_core.ports import HistoryReader, HistorySummary

WINDOWS: Mapping[str, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
"""How far back executions are counted."""
KEPT_SECONDS = 10.0
"""So long what the history said serves every scrape."""
HISTORY_SECONDS = 2.0
"""So long a scrape waits for the history; Prometheus itself waits ten."""
NO_ROUTE = "none"
"""The route of a request that leads nowhere: what people try is no label."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as it is told and documented."""

    name: str
    kind: str
    """Prometheus' type: ``counter``, whose samples end in ``_total``, ``gauge`` or ``histogram``."""
    says: str
    labels: tuple[str, ...] = ()

    def gauge(self) -> GaugeMetricFamily:
        """Return it without a sample, for a collector."""
        return GaugeMetricFamily(self.name, self.says, labels=self.labels)


REQUESTS = Described(
    "carillon_api_requests", "counter", "Requests answered, by the route's template.", ("method", "route", "status")
)
REQUEST_SECONDS = Described(
    "carillon_api_request_duration_seconds",
    "histogram",
    "How long requests took, from their head to the answer's last byte.",
    ("method", "route"),
)
IN_FLIGHT = Described("carillon_api_requests_in_flight", "gauge", "Requests that are being served.")
CALL_SECONDS = Described(
    "carillon_api_server_call_duration_seconds",
    "histogram",
    "How long calls to the API server took; status is none where no answer came.",
    ("method", "status"),
)
HISTORY_UP = Described("carillon_history_up", "gauge", "Whether the history answered when it was asked last.")
EXECUTIONS = Described(
    "carillon_executions",
    "gauge",
    "Executions whose slot lies within the last hour or day, by what became of them.",
    ("window", "status"),
)
DEAD_LETTERS = Described(
    "carillon_dead_letters",
    "gauge",
    "Executions with a slot within the last hour or day that failed or timed out, and that nobody repeated.",
    ("window",),
)
RUNNING = Described("carillon_executions_running", "gauge", "Executions that run, whenever their slot was.")
PARTITIONS = Described("carillon_history_partitions", "gauge", "How many months the history holds.")
MAINTAINED = Described(
    "carillon_history_maintained_timestamp_seconds",
    "gauge",
    "When the history's maintenance last succeeded, in seconds since 1970; missing if it never did.",
)
MAINTENANCE_FAILING = Described(
    "carillon_history_maintenance_failing", "gauge", "Whether the last try of the history's maintenance failed."
)
OURS = (REQUESTS, REQUEST_SECONDS, IN_FLIGHT, CALL_SECONDS)
OF_THE_HISTORY = (HISTORY_UP, EXECUTIONS, DEAD_LETTERS, RUNNING, PARTITIONS, MAINTAINED, MAINTENANCE_FAILING)


class Metrics:
    """The facade's numbers, in a registry of their own."""

    def __init__(self) -> None:
        """Begin at zero, and know nothing of the history."""
        self.registry = CollectorRegistry()
        self._requests = Counter(REQUESTS.name, REQUESTS.says, REQUESTS.labels, registry=self.registry)
        self._seconds = self._histogram(REQUEST_SECONDS)
        self._in_flight = Gauge(IN_FLIGHT.name, IN_FLIGHT.says, registry=self.registry)
        self._calls = self._histogram(CALL_SECONDS)
        self.history = HistoryNumbers()
        self.registry.register(self.history)
        ProcessCollector(registry=self.registry)

    def _histogram(self, described: Described) -> Histogram:
        return Histogram(described.name, described.says, described.labels, buckets=BUCKETS, registry=self.registry)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as long as the block lasts."""
        with self._in_flight.track_inprogress():
            yield

    def request_ended(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Count a request; a status of None is one whose answer broke off."""
        shown, where = method if method in METHODS else "other", route or NO_ROUTE
        self._requests.labels(shown, where, str(status or "none")).inc()
        self._seconds.labels(shown, where).observe(seconds)

    def call_ended(self, method: str, status: int | None, seconds: float) -> None:
        """Count a call to the API server; a status of None means that no answer came."""
        self._calls.labels(method, str(status or "none")).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the history says of each window."""

    windows: Mapping[str, HistorySummary]

    @property
    def latest(self) -> HistorySummary:
        """Any of the summaries: what they say of the history itself is the same."""
        return self.windows["hour"]


async def numbers_of(reader: HistoryReader, now: datetime, namespace: str | None = None) -> Numbers:
    """Return what the history says of each window, of a namespace or of all; errors as ``HistoryReader.summary``'s."""
    namespaces = () if namespace is None else (namespace,)
    return Numbers({name: await reader.summary(now - length, namespaces) for name, length in WINDOWS.items()})


class HistoryNumbers:
    """The history's numbers as a collector: it tells what ``refresh`` has read last."""

    def __init__(self) -> None:
        """Know nothing."""
        self._numbers: Numbers | None = None
        self._read_at: float | None = None
        self._turn = asyncio.Lock()

    async def refresh(self, reader: HistoryReader, now: datetime) -> None:
        """Read what is older than ``KEPT_SECONDS`` anew, once for all who ask; this neither fails nor hangs."""
        async with self._turn:
            if self._read_at is not None and time.monotonic() - self._read_at < KEPT_SECONDS:
                return
            try:
                async with asyncio.timeout(HISTORY_SECONDS):
                    self._numbers = await numbers_of(reader, now)
            except (TimeoutError, CarillonError) as error:
                why = str(error) or f"no answer within {HISTORY_SECONDS:g} s"
                log.warning("the history's metrics are missing", why=why)
                self._numbers = None
            # a failure is kept as long: a database that is away is not asked by every scrape
            self._read_at = time.monotonic()

    def forget(self) -> None:
        """Have the next ``refresh`` read anew."""
        self._read_at = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; of a history that is away only that it is."""
        up, executions, dead = HISTORY_UP.gauge(), EXECUTIONS.gauge(), DEAD_LETTERS.gauge()
        up.add_metric([], float(self._numbers is not None))
        for window, summary in (self._numbers.windows if self._numbers else {}).items():
            dead.add_metric([window], summary.dead_letters)
            for status in ExecutionStatus:
                executions.add_metric([window, status], summary.by_status.get(status, 0))
        yield from (up, executions, dead)
        yield from _of_the_history_itself(self._numbers.latest if self._numbers else None)


def _of_the_history_itself(summary: HistorySummary | None) -> Iterator[Metric]:
    running, partitions = RUNNING.gauge(), PARTITIONS.gauge()
    maintained, failing = MAINTAINED.gauge(), MAINTENANCE_FAILING.gauge()
    if summary is not None:
        running.add_metric([], summary.running)
        partitions.add_metric([], summary.partitions)
        failing.add_metric([], float(summary.maintenance_error is not None))
        if summary.maintained_at is not None:
            maintained.add_metric([], summary.maintained_at.timestamp())
    yield from (running, partitions, maintained, failing)
