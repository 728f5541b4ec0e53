"""What the pods of one Job show together."""

from typing import Any

from carillon_operator.state.observed_pods import MOST_ENDS, ObservedPods

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


def test_of_thousands_of_pods_the_last_are_kept_and_the_others_counted() -> None:
    """Each look at a Job would go through all of them; one that is told of again is not counted again."""
    pods = ObservedPods()
    for number in range(1000):
        phase, code = ("Failed", 1) if number % 10 == 0 else ("Succeeded", 0)
        pods.take(JOB, "j1", pod(f"p{number}", {"terminated": {"exitCode": code}}, phase))
    again = pod("p1", {"terminated": {"exitCode": 0}}, "Succeeded")
    assert not pods.take(JOB, "j1", again)
    seen = pods.of("team-a", "j1")
    assert [len(seen.ends), seen.forgotten, seen.forgotten_successes] == [MOST_ENDS, 900, 810]
    assert seen.ends[-1].pod_name == "p999"
    assert not seen.living
