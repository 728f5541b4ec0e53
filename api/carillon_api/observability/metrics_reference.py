"""``python -m carillon_api.observability.metrics_reference --output FILE`` writes the table of metrics, checked in."""

import argparse
import sys
from pathlib import Path

from carillon_api.observability.metrics import OF_THE_HISTORY, OURS, Described

INTRODUCTION = """<!-- Generated from carillon_api by `make manifests`: change that, not this. -->
# Metrics

`GET /metrics` of the REST facade answers in Prometheus' text format. (`GET /api/v1/metrics` tells what the history says
as JSON, of one namespace or of all.)

The history is read when the metrics are, at most every ten seconds and for at most two: while it is away,
`carillon_history_up` is 0 and the other numbers of the history are missing. They are counted over all namespaces, and
every replica tells the same: take the maximum, not the sum. `process_…` are those of every Prometheus client.

| Metric | Type | Labels | What it says |
| --- | --- | --- | --- |
"""


def reference_text() -> str:
    """Return the page as it is checked in."""
    return INTRODUCTION + "".join(_row(metric) for metric in (*OURS, *OF_THE_HISTORY))


def _row(metric: Described) -> str:
    suffix = "_total" if metric.kind == "counter" else ""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}{suffix}` | {metric.kind} | {labels} | {metric.says} |\n"


def main() -> int:
    """Write the page to a file, or to standard output."""
    parser = argparse.ArgumentParser(description="Write the table of the REST facade's metrics.")
    parser.add_argument("--output", type=Path, help="the file to write; standard output if left out")
    output: Path | None = parser.parse_args().output
    if output is None:
        sys.stdout.write(reference_text())
    else:
        output.write_text(reference_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
