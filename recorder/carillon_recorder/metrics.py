"""The recorder's Prometheus metrics; ``create_app`` creates one ``Metrics`` for each app."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from carillon_core.metric_definition import MetricDefinition

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


REQUESTS = MetricDefinition(
    "carillon_recorder_requests",
    "counter",
    "Requests of runners, by operation and code: `OK`, or why the request was refused.",
    ("operation", "code"),
)
REQUEST_SECONDS = MetricDefinition(
    "carillon_recorder_request_duration_seconds",
    "histogram",
    "Duration of requests, the wait for a connection included.",
    ("operation",),
)
WAITING = MetricDefinition("carillon_recorder_waiting", "gauge", "Requests that wait for a connection to the database.")
CONNECTIONS = MetricDefinition("carillon_recorder_connections", "gauge", "Open connections to the database.")
METRICS = (REQUESTS, REQUEST_SECONDS, WAITING, CONNECTIONS)


class Metrics:
    """The recorder's metrics, in their own registry."""

    def __init__(self, waiting: Callable[[], float], connections: Callable[[], float]) -> None:
        """Start at zero.

        Args:
            waiting: Returns the value of the metric of this name.
            connections: The same.

        """
        self._registry = CollectorRegistry()
        self._requests = Counter(REQUESTS.name, REQUESTS.description, REQUESTS.labels, registry=self._registry)
        self._seconds = Histogram(
            REQUEST_SECONDS.name,
            REQUEST_SECONDS.description,
            REQUEST_SECONDS.labels,
            buckets=BUCKETS,
            registry=self._registry,
        )
        Gauge(WAITING.name, WAITING.description, registry=self._registry).set_function(waiting)
        Gauge(CONNECTIONS.name, CONNECTIONS.description, registry=self._registry).set_function(connections)
        ProcessCollector(registry=self._registry)

    def request_ended(self, operation: str, code: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(operation, code).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
