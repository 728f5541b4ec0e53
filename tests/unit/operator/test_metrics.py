"""The operator's metrics."""

from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from carillon_core.contract import Cause
from carillon_core.domain.execution import attempt_job_name
from carillon_core.domain.shard import Shard
from carillon_operator.guard.loop_turns import LoopTurns
from carillon_operator.guard.quarantine import Quarantine
from carillon_operator.guard.subject import Subject
from carillon_operator.metrics import METRICS, TASK_METRICS, OperatorCollector, TaskCollector
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from support.builders import TASK_UID, at
from support.jobs import raw_job

SECOND = attempt_job_name("backup-1767225660", at("00:01:00"), Cause.SCHEDULE, 2)


def test_each_metric_is_served_as_it_is_documented() -> None:
    """With its type and its meaning, and what is set aside by kind."""
    quarantine = Quarantine(None)
    quarantine.put(Subject("ScheduledTask", "shop", "report", "1d0c", 3), "it did not end")
    turns = LoopTurns(iter((0.0, 1.0, 1.25)).__next__)
    turns.begin()
    turns.end()
    registry = CollectorRegistry()
    registry.register(OperatorCollector(turns, quarantine))
    store = ObservedStore()
    registry.register(TaskCollector(store, Ownership(Shard(), store), 1))
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


def task(number: int, status: dict[str, Any] | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a task that was created ``number`` minutes after another one."""
    meta: dict[str, Any] = {"name": f"t{number}", "namespace": "default", "uid": str(UUID(int=number))}
    meta |= {"creationTimestamp": f"2026-01-01T00:{number:02}:00Z", "labels": labels or {}, "generation": 1}
    meta["resourceVersion"] = "1"
    return {"metadata": meta, "spec": {"intervalSeconds": 60, "task": {"counter": {}}}, "status": status or {}}


def samples(store: ObservedStore, most: int, shard: Shard | None = None) -> dict[str, dict[str, float]]:
    """Return the value of each task, by the end of the metric's name."""
    registry = CollectorRegistry()
    registry.register(TaskCollector(store, Ownership(shard or Shard(), store), most))
    families = {family.name: family.samples for family in registry.collect()}
    assert families.keys() == {metric.name for metric in TASK_METRICS}
    return {
        name.removeprefix("carillon_task_"): {sample.labels["task"]: sample.value for sample in found}
        for name, found in families.items()
    }


def test_a_task_has_metrics_from_its_status_and_its_last_job() -> None:
    """A value that is not known is missing: zero would be one."""
    store = ObservedStore()
    done = {"lastSuccessfulTime": "2026-01-01T00:00:30Z", "lastDurationSeconds": 7, "consecutiveFailures": 2}
    last = {"id": "i", "slot": "2026-01-01T00:01:00Z", "jobName": "backup-1767225660", "result": "Running"}
    raw = task(1, {**done, "lastExecution": last})
    raw["metadata"] |= {"name": "backup", "uid": TASK_UID}
    job = raw_job("default")
    job["metadata"]["creationTimestamp"] = "2026-01-01T00:01:04Z"
    for each in (raw, task(2)):
        store.tasks.put(each)
    store.jobs.put(job)
    assert samples(store, 10) == {
        "last_success_timestamp_seconds": {"backup": 1767225630.0},
        "last_duration_seconds": {"backup": 7.0},
        "consecutive_failures": {"backup": 2.0, "t2": 0.0},
        "last_start_delay_seconds": {"backup": 4.0},
    }
    jittered = {**raw, "spec": {**raw["spec"], "jitterSeconds": 3600}}
    store.tasks.put(jittered)
    assert samples(store, 10)["last_start_delay_seconds"] == {"backup": 0.0}


@pytest.mark.parametrize(("most", "want"), [(0, {"t5"}), (2, {"t1", "t2", "t5"}), (9, {"t1", "t2", "t3", "t4", "t5"})])
def test_the_oldest_tasks_and_the_labelled_ones_have_metrics(most: int, want: set[str]) -> None:
    """A new task takes the place of none; a deleted one makes room."""
    store = ObservedStore()
    for number in (4, 2, 5, 3, 1):
        store.tasks.put(task(number, labels={"carillon.dev/metrics": "true"} if number == 5 else None))
    assert samples(store, most)["consecutive_failures"].keys() == want
    store.tasks.drop(("default", "t1"), str(UUID(int=1)))
    rest = {"t2": 2, "t3": 3, "t4": 4}
    assert samples(store, most)["consecutive_failures"].keys() == {"t5", *list(rest)[:most]}


def test_an_operator_has_metrics_of_its_own_tasks() -> None:
    """Each task is in one shard, so that two operators never say two things of it."""
    store = ObservedStore()
    for number in range(1, 9):
        store.tasks.put(task(number))
    found = [set(samples(store, 9, Shard(index, 2))["consecutive_failures"]) for index in (0, 1)]
    assert found[0].isdisjoint(found[1])
    assert len(found[0] | found[1]) == 8


def test_a_retry_is_not_late() -> None:
    """Its Job is created long after the slot, which says nothing of the launch."""
    store = ObservedStore()
    last = {"id": "i", "slot": "2026-01-01T00:01:00Z", "jobName": SECOND, "result": "Running"}
    raw = task(1, {"lastExecution": last})
    raw["metadata"] |= {"name": "backup", "uid": TASK_UID}
    job = raw_job("default")
    job["metadata"] |= {"name": SECOND, "creationTimestamp": "2026-01-01T00:06:00Z"}
    store.tasks.put(raw)
    store.jobs.put(job)
    assert store.jobs.get("default", SECOND) is not None
    assert samples(store, 10)["last_start_delay_seconds"] == {}


def test_a_task_that_cannot_be_measured_takes_no_metric_from_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, not at each scrape."""
    store = ObservedStore()
    store.tasks.put(task(1, {"consecutiveFailures": 10**400}))  # no API server stores it: for a defect of ours
    store.tasks.put(task(2))
    registry = CollectorRegistry()
    registry.register(TaskCollector(store, Ownership(Shard(), store), 9))
    for _ in range(2):
        assert 'carillon_task_consecutive_failures{namespace="default",task="t2"} 0.0' in scraped(registry)
    assert 'task="t1"' not in scraped(registry)
    assert caplog.text.count("task not measured") == 1


def scraped(registry: CollectorRegistry) -> str:
    """Return what a scrape answers."""
    return generate_latest(registry).decode()
