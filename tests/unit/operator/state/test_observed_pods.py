"""What the pods of one Job show together."""

from typing import Any

from carillon_operator.state.observed_pods import ObservedPods

JOB = ("team-a", "nightly-1")
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


def pod(uid: str, state: dict[str, Any], phase: str = "Pending") -> dict[str, Any]:
    """Return a pod as the API server shows it."""
    return {
        "metadata": {"name": uid, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"phase": phase, "containerStatuses": [{"name": "a", "state": state}]},
    }


def test_a_job_does_some_work_if_one_pod_has_no_trouble() -> None:
    """Or has ended, although another cannot start."""
    pods = ObservedPods()
    pods.take(JOB, "j1", pod("one", PULL))
    assert not pods.of("team-a", "j1").some_work
    pods.take(JOB, "j1", pod("two", {"running": {}}, "Running"))
    pods.take(JOB, "j1", pod("three", PULL))
    seen = pods.of("team-a", "j1")
    assert seen.some_work
    assert seen.trouble is not None
    pods.gone("team-a", "j1", "two")
    assert not pods.of("team-a", "j1").some_work
    pods.take(JOB, "j1", pod("four", {"terminated": {"exitCode": 1}}, "Failed"))
    assert pods.of("team-a", "j1").some_work
