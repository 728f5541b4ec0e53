"""The operator's metrics."""

from prometheus_client import CollectorRegistry, generate_latest

from carillon_operator.guard.loop_turns import LoopTurns
from carillon_operator.guard.quarantine import Quarantine
from carillon_operator.guard.subject import Subject
from carillon_operator.metrics import METRICS, OperatorCollector


def test_each_metric_is_served_as_it_is_documented() -> None:
    """With its type and its meaning, and what is set aside by kind."""
    quarantine = Quarantine(None)
    quarantine.put(Subject("ScheduledTask", "shop", "report", "1d0c", 3), "it did not end")
    turns = LoopTurns(iter((0.0, 1.0, 1.25)).__next__)
    turns.begin()
    turns.end()
    registry = CollectorRegistry()
    registry.register(OperatorCollector(turns, quarantine))
    text = generate_latest(registry).decode()
    for metric in METRICS:
        suffix = "_total" if metric.kind == "counter" else ""
        assert f"# TYPE {metric.name}{suffix} {metric.kind}" in text
        assert f"# HELP {metric.name}{suffix} {metric.description}" in text
    assert 'carillon_operator_quarantined_objects{kind="ScheduledTask"} 1.0' in text
    assert 'carillon_operator_quarantined_objects{kind="RunRequest"} 0.0' in text
    assert "carillon_operator_quarantines_total 1.0" in text
    assert "carillon_operator_loop_longest_turn_seconds 0.25" in text
    assert "carillon_operator_loop_turn_seconds_count 1.0" in text
    assert 'carillon_operator_loop_turn_seconds_bucket{le="0.1"} 0.0' in text
    assert 'carillon_operator_loop_turn_seconds_bucket{le="0.5"} 1.0' in text
