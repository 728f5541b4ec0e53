"""``python -m metrics_reference --output FILE`` writes docs/metrics.md, which is checked in: every metric."""

import argparse
import sys
from pathlib import Path

from carillon_api.observability.metrics import HISTORY_METRICS, OWN_METRICS
from carillon_core.metric_definition import MetricDefinition
from carillon_operator.metrics import METRICS as OPERATOR_METRICS
from carillon_recorder.metrics import METRICS as RECORDER_METRICS

INTRODUCTION = """<!-- Generated from the programs' metrics by `make manifests`; do not edit. -->
# Metrics

`GET /metrics` of the REST facade returns the metrics in Prometheus' text format. (`GET /api/v1/metrics` returns counts
of executions as JSON, for one namespace or for all.)

Metrics of the history are read from the database on each scrape, at most every ten seconds, with a timeout of two
seconds. While the database is unavailable, `carillon_history_up` is 0 and the other metrics of the history are missing.
They count all namespaces, and every replica reports the same values: aggregate them with `max`, not `sum`. `process_…`
are the standard process metrics of Prometheus clients.

"""
RECORDER = """
## Recorder

`GET /metrics` of the recorder returns these, for each replica its own.

"""
OPERATOR = """
## Operator

With `CARILLON_METRICS_PORT`, each operator returns these at `GET /metrics`.

`carillon_task_…` are those of single tasks: of the oldest 1,000 (`CARILLON_TASK_METRICS`), and of tasks with the label
`carillon.dev/metrics=true`. The chart sets the number to `operator.taskMetrics`, 0 by default: the port has no
authentication: anyone who reaches it can read the namespaces, names and failures of these tasks. The chart's
NetworkPolicies let every pod reach it if `monitoring.serviceMonitor.enabled` is true, and none if not.

Every replica of a shard reports them: aggregate them with `max by (namespace, task)`. If Prometheus has a label
`namespace` of its own for the operator, it renames that of the task to `exported_namespace`.

"""
TABLE = """| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
"""


def reference_text() -> str:
    """Return the page as it is checked in."""
    api = "".join(_row(metric) for metric in (*OWN_METRICS, *HISTORY_METRICS))
    recorder = "".join(_row(metric) for metric in RECORDER_METRICS)
    operator = "".join(_row(metric) for metric in OPERATOR_METRICS)
    return INTRODUCTION + TABLE + api + OPERATOR + TABLE + operator + RECORDER + TABLE + recorder


def _row(metric: MetricDefinition) -> str:
    suffix = "_total" if metric.kind == "counter" else ""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}{suffix}` | {metric.kind} | {labels} | {metric.description} |\n"


def main() -> int:
    """Write the page to a file, or to standard output."""
    parser = argparse.ArgumentParser(description="Write the tables of all metrics.")
    parser.add_argument("--output", type=Path, help="the file to write; standard output if left out")
    output: Path | None = parser.parse_args().output
    if output is None:
        sys.stdout.write(reference_text())
    else:
        output.write_text(reference_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
