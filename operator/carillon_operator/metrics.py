"""The operator's Prometheus metrics, served by a thread of their own."""

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from carillon_core.metric_definition import MetricDefinition
from carillon_operator.guard.loop_turns import BOUNDS, LoopTurns
from carillon_operator.guard.quarantine import Quarantine

TURNS = MetricDefinition(
    "carillon_operator_loop_turn_seconds", "histogram", "Turns of the event loop, in which nothing else happens."
)
LONGEST_TURN = MetricDefinition(
    "carillon_operator_loop_longest_turn_seconds",
    "gauge",
    "The longest turn of the event loop in the last minute or two.",
)
QUARANTINED = MetricDefinition(
    "carillon_operator_quarantined_objects", "gauge", "Objects that are set aside, by kind.", ("kind",)
)
QUARANTINES = MetricDefinition(
    "carillon_operator_quarantines", "counter", "Objects set aside since the operator started."
)
METRICS = (TURNS, LONGEST_TURN, QUARANTINED, QUARANTINES)
KINDS = ("ScheduledTask", "RunRequest", "HTTPTarget")


class OperatorCollector(Collector):
    """Reads the metrics when they are scraped."""

    def __init__(self, turns: LoopTurns, quarantine: Quarantine) -> None:
        """Take what is measured."""
        self._turns = turns
        self._quarantine = quarantine

    def collect(self) -> Iterable[Metric]:
        """Yield each metric."""
        bounds = (*map(str, BOUNDS), "+Inf")
        buckets = list(zip(bounds, accumulate(self._turns.counts), strict=True))
        yield HistogramMetricFamily(TURNS.name, TURNS.description, buckets=buckets, sum_value=self._turns.seconds)
        yield GaugeMetricFamily(LONGEST_TURN.name, LONGEST_TURN.description, value=self._turns.longest)
        aside = GaugeMetricFamily(QUARANTINED.name, QUARANTINED.description, labels=QUARANTINED.labels)
        kinds: list[str] = [subject.kind for subject in tuple(self._quarantine)]
        for kind in KINDS:
            aside.add_metric([kind], kinds.count(kind))
        yield aside
        yield CounterMetricFamily(QUARANTINES.name, QUARANTINES.description, value=self._quarantine.total)


def serve_metrics(port: int, turns: LoopTurns, quarantine: Quarantine) -> None:
    """Serve the metrics on a port of all addresses, in a thread that ends with the process.

    Raises:
        OSError: The port is taken.

    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(OperatorCollector(turns, quarantine))
    start_http_server(port, registry=registry)
