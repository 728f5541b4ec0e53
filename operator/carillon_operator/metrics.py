"""The operator's Prometheus metrics, served by a thread of their own."""

from collections.abc import Iterable
from datetime import datetime
from heapq import nsmallest
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from carillon_core.contract import Cause
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.timetable.schedule import jitter_offset, launch_time
from carillon_core.logs import get_logger
from carillon_core.metric_definition import MetricDefinition
from carillon_core.resources.names import LABEL_METRICS
from carillon_operator.guard.loop_turns import BOUNDS, LoopTurns
from carillon_operator.guard.quarantine import Quarantine
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership

log = get_logger(__name__)

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
_OF_TASK = ("namespace", "task")
SUCCEEDED_AT = MetricDefinition(
    "carillon_task_last_success_timestamp_seconds",
    "gauge",
    "Unix time at which an execution of the task last succeeded; missing if none did.",
    _OF_TASK,
)
DURATION = MetricDefinition(
    "carillon_task_last_duration_seconds",
    "gauge",
    "Duration of the task's most recently finished execution, from the start of its first pod, in whole seconds.",
    _OF_TASK,
)
FAILURES = MetricDefinition(
    "carillon_task_consecutive_failures", "gauge", "The task's failed executions since its last success.", _OF_TASK
)
DELAY = MetricDefinition(
    "carillon_task_last_start_delay_seconds",
    "gauge",
    "Time from the slot of the task's last execution, jitter included, to the creation of its Job, or to its admission"
    " by a queue, in whole seconds; missing once the Job is deleted.",
    _OF_TASK,
)
TASK_METRICS = (SUCCEEDED_AT, DURATION, FAILURES, DELAY)
METRICS = (TURNS, LONGEST_TURN, QUARANTINED, QUARANTINES, *TASK_METRICS)
MOST_LABELLED = 10_000
"""How many tasks with the label have metrics of their own, at most: a tenant may label any number."""
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


class TaskCollector(Collector):
    """Reads the metrics of single tasks when they are scraped, in the thread that serves them.

    What it reads are values that never change, and copies of dictionaries that the event loop changes. The oldest tasks
    have metrics, so that a new task removes no series of another.
    """

    def __init__(self, store: ObservedStore, ownership: Ownership, most: int) -> None:
        """Take what is observed, which part of it is ours, and how many tasks without the label have metrics."""
        self._store = store
        self._ownership = ownership
        self._most = most
        self._failed: frozenset[str] = frozenset()
        """The uids of the tasks that could not be measured at the last scrape."""

    def collect(self) -> Iterable[Metric]:
        """Yield each metric, with a sample for each task that has a value."""
        families = {d: GaugeMetricFamily(d.name, d.description, labels=d.labels) for d in TASK_METRICS}
        failed = set[str]()
        for task in self._chosen():
            labels = (task.meta.namespace, task.meta.name)
            try:
                values = self._values(task)
            except Exception:  # tenants write statuses: one that we fail to read must not take the others' metrics
                failed.add(task.meta.uid)
                if task.meta.uid not in self._failed:
                    log.exception("task not measured", task="/".join(labels))
                continue
            for definition, value in values.items():
                families[definition].add_metric(labels, value)
        self._failed = frozenset(failed)
        return families.values()

    def _values(self, task: ObservedTask) -> dict[MetricDefinition, float]:
        """Return the values that are known of a task."""
        status = task.status
        succeeded = status.last_successful_time
        values = {
            SUCCEEDED_AT: None if succeeded is None else succeeded.timestamp(),
            DURATION: status.last_duration_seconds,
            FAILURES: status.consecutive_failures,
            DELAY: self._delay(task),
        }
        return {definition: float(value) for definition, value in values.items() if value is not None}

    def _chosen(self) -> list[ObservedTask]:
        """Return the tasks that have metrics."""
        keys = tuple(self._store.tasks.keys())
        ours = [task for key in keys if (task := self._ownership.task(key)) is not None]
        labelled = [task for task in ours if _is_labelled(task)]
        others = [task for task in ours if not _is_labelled(task)]
        return [*nsmallest(MOST_LABELLED, labelled, key=_age), *nsmallest(self._most, others, key=_age)]

    def _delay(self, task: ObservedTask) -> float | None:
        """Return how late the task's last execution was launched; None if that is not known."""
        last = task.status.last_execution
        job = None if last is None else self._store.jobs.get(task.meta.namespace, last.job_name)
        if job is None or job.task_uid != task.meta.uid or job.admitted_at is None or job.number > 1:
            return None
        jitter = task.spec.jitter_seconds if task.spec is not None and job.cause is Cause.SCHEDULE else 0
        planned = launch_time(job.slot, jitter_offset(task.meta.uid, jitter))
        return max(0.0, (job.admitted_at - planned).total_seconds())


def _is_labelled(task: ObservedTask) -> bool:
    return task.meta.labels.get(LABEL_METRICS) == "true"


def _age(task: ObservedTask) -> tuple[datetime, str]:
    return task.created_at, task.meta.uid


def serve_metrics(port: int, registry: CollectorRegistry, turns: LoopTurns, quarantine: Quarantine) -> None:
    """Serve a registry's metrics on a port of all addresses, in a thread that ends with the process.

    Raises:
        OSError: The port is taken.

    """
    ProcessCollector(registry=registry)
    registry.register(OperatorCollector(turns, quarantine))
    start_http_server(port, registry=registry)
