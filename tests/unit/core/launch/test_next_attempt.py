"""The Job of a container's next attempt: its name, its pod, its time, and what it says of the attempts before."""

from typing import Any

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import (
    attempt_job_name,
    attempt_number,
    execution_id,
    job_name,
    later_job_names,
    request_job_name,
)
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.next_attempt import next_attempt
from carillon_core.domain.launch.order import slot_order
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.jobs import ActiveJob
from carillon_core.domain.observed.pod_ends import JobPods, PodEnd
from carillon_core.domain.observed.retries import MOST_EARLIER, Retries, parse_retries
from carillon_core.resources.names import ANNOTATION_RETRIES
from carillon_core.resources.tasks import RetryPolicy
from support.builders import REQUEST_UID, TASK_UID, at, make_task

SLOT = at("00:01")
TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"k" * 32))
QUICK = {"limit": 2, "initialDelaySeconds": 1, "factor": 1, "jitter": 0}


def first_job(**spec: Any) -> dict[str, Any]:
    """Return the Job of a first attempt as the API server has it."""
    task = make_task().every(60).with_spec(task={"container": {"image": "busybox"}}, retry=QUICK, **spec)
    made = job_manifest(
        slot_order(task.observed(), Launch(SLOT, execution_id(TASK_UID, SLOT, Cause.SCHEDULE))), TEMPLATE
    )
    return stored(made, "first")


def stored(made: dict[str, Any], uid: str) -> dict[str, Any]:
    """Return a Job with what the API server and the Job controller add to it."""
    made["metadata"] |= {"uid": uid, "creationTimestamp": "2026-01-01T00:01:00Z"}
    made["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    pods = made["spec"]["template"]["metadata"]
    pods["labels"] = {**pods["labels"], "batch.kubernetes.io/controller-uid": uid, "job-name": "x"}
    return made | {"status": {}}


def end(start: str, finish: str, code: int = 1, **more: Any) -> PodEnd:
    """Return the end of a pod that failed."""
    return PodEnd(
        succeeded=code == 0, started_at=at(start), finished_at=at(finish), exit_code=code, pod_name="p", **more
    )


def failed(raw: dict[str, Any], *ends: PodEnd) -> ActiveJob:
    """Return a Job whose pods failed, as observed: it waits for the next attempt."""
    seen = observed_job(raw, JobPods(ends, seen=True))
    assert isinstance(seen, ActiveJob)
    assert seen.retry_at is not None
    return seen


def test_names_tell_attempts_apart_and_are_no_longer_than_that_of_the_first() -> None:
    """Whatever the names of the tasks and requests: the last part differs in length or in its last character."""
    task = "t" * 52
    first = job_name(task, SLOT)
    names = [attempt_job_name(first, SLOT, Cause.SCHEDULE, number) for number in range(1, 22)]
    assert max(map(len, names)) == len(first) == 63
    assert [attempt_number(name, first, SLOT, Cause.SCHEDULE) for name in names] == list(range(1, 22))
    assert names[1:] == later_job_names(first, SLOT, Cause.SCHEDULE, 1)
    asked = request_job_name(task, REQUEST_UID)
    manual = [attempt_job_name(asked, SLOT, Cause.MANUAL, number) for number in range(1, 22)]
    assert [attempt_number(name, asked, SLOT, Cause.MANUAL) for name in manual] == list(range(1, 22))
    assert len({*names, *manual, job_name(task, at("00:02"))}) == 43
    assert not [name for name in names[1:] if name[-1] in "0123456789abcdef"]
    for other in ("", first[:-1], f"{first}g", names[1][:-1] + "f", names[1][:-1] + "{"):
        assert attempt_number(other, first, SLOT, Cause.SCHEDULE) is None


def test_the_next_attempt_is_the_same_execution_in_another_job() -> None:
    """It has the pod of the first, the time that is left, and the ends of the pods before."""
    job = failed(first_job(timeoutSeconds=60), end("00:01:02", "00:01:10", message="paper", reason="Error"))
    assert job.retry_at == at("00:01:12")
    second = next_attempt(first_job(timeoutSeconds=60), job, at("00:01:12"))
    assert second["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 50
    assert "selector" not in second["spec"]
    assert {key for key in second["spec"]["template"]["metadata"]["labels"] if "carillon" not in key} == {
        "app.kubernetes.io/managed-by"
    }
    seen = failed(stored(second, "second"), end("00:01:13", "00:01:14", 2))
    assert (seen.name, seen.number, seen.execution_id) == (second["metadata"]["name"], 2, job.execution_id)
    assert [(pod.exit_code, pod.message) for pod in seen.attempts] == [(1, "paper"), (2, "")]
    third = next_attempt(second, seen, at("00:01:16"))
    assert third["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 46
    last = observed_job(stored(third, "third"), JobPods([end("00:01:17", "00:01:18")], seen=True))
    assert last is not None
    assert (last.active, len(last.attempts)) == (False, 3)
    fresh = observed_job(third)
    assert fresh is not None
    assert fresh.active, "the pods before do not speak for it"


def test_a_queued_attempt_waits_for_quota_again() -> None:
    """Where its queue had placed the pod before says nothing about the next."""
    raw = first_job(queueName="slow", pod={"nodeSelector": {"zone": "a"}})
    raw["spec"] |= {"suspend": False}
    raw["spec"]["template"]["spec"] |= {
        "nodeSelector": {"zone": "a", "flavour": "spot"},
        "tolerations": [{"key": "spot"}],
    }
    second = next_attempt(raw, failed(raw, end("00:01:02", "00:01:10")), at("00:01:12"))
    assert second["spec"]["suspend"] is True
    assert second["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "slow"
    assert second["spec"]["template"]["spec"]["nodeSelector"] == {"zone": "a"}
    assert "tolerations" not in second["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("pod", "want"),
    [
        (end("00:01:02", "00:01:10", 137, reason="OOMKilled"), None),
        (end("00:01:02", "00:01:10", 137, reason="DeadlineExceeded"), "TimedOut"),
        (end("00:01:02", "00:01:10", 143, reason="EvictionByEvictionAPI", disrupted=True), "Running"),
        (end("00:01:02", "00:01:10", 0), "Succeeded"),
    ],
    ids=["a failure", "the time-out", "a drain, which another pod of the same Job follows", "a success"],
)
def test_only_failures_are_retried(pod: PodEnd, want: str | None) -> None:
    """``want`` is the result that the execution has instead."""
    seen = observed_job(first_job(), JobPods([pod], seen=True))
    assert seen is not None
    assert (seen.retry_at is not None) == (want is None)
    assert want is None or str(seen.result) == want


@pytest.mark.parametrize("condition", [[], [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]])
def test_an_attempt_whose_job_is_being_deleted_is_not_retried(condition: list[dict[str, Any]]) -> None:
    """It is cancelled when the Job is gone."""
    raw = first_job() | {"status": {"conditions": condition}}
    raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:11Z"
    seen = observed_job(raw, JobPods([end("00:01:02", "00:01:10")], seen=True))
    assert seen is not None
    assert (seen.active, seen.retry_at) == (True, None)


def test_an_attempt_past_its_own_time_has_failed_and_is_retried() -> None:
    """The execution has time left."""
    raw = first_job(timeoutSeconds=60)
    policy = RetryPolicy(limit=1, attempt_timeout_seconds=5)
    raw["metadata"]["annotations"][ANNOTATION_RETRIES] = Retries.first(policy, 60, {}, queued=False).encoded()
    assert failed(raw, end("00:01:02", "00:01:07", 137, reason="DeadlineExceeded")).retry_at is not None


def test_a_wait_is_the_same_whoever_computes_it_and_differs_between_executions() -> None:
    """Its jitter comes from the execution's id."""
    retries = Retries(policy=RetryPolicy(limit=1, initial_delay_seconds=100, jitter=1), timeout_seconds=600)
    dues = [retries.next_at(1, name, at("00:01")) for name in ("one", "one", "other")]
    assert dues[0] == dues[1] != dues[2]
    assert all(at("00:01") <= due <= at("00:02:41") for due in dues)


def test_an_annotation_is_bounded_and_one_that_makes_no_sense_counts_as_none() -> None:
    """Whoever may write Jobs can write it."""
    retries = Retries(policy=RetryPolicy(limit=20), timeout_seconds=60)
    pods = [end("00:01:02", "00:01:10", message="\N{SNOWMAN}" * 5000) for _ in range(100)]
    text = retries.followed(pods, at("00:01"), 60).encoded()
    assert len(text.encode()) < 100_000
    read = parse_retries(text)
    assert read is not None
    assert (len(read.earlier), read.forgotten) == (MOST_EARLIER, 60)
    good = '{"retry": {"limit": 1}, "timeoutSeconds": 60}'
    assert parse_retries(good) is not None
    for bad in (
        *("", "[]", "1", "{", '{"retry": 1}', '{"retry": {"limit": 99}, "timeoutSeconds": 60}', "[" * 100_000),
        *(good.replace("60", "null"), good.replace("60", "1e999"), good + " " * 300_000),
        *(good[:-1] + f', "earlier": {each}}}' for each in ("1", "[1]", '[{"exitCode": "x"}]', '[{"finishedAt": 1}]')),
    ):
        assert parse_retries(bad) is None, bad[:50]
