"""What the pods of one Job show together."""

from datetime import UTC, datetime
from typing import Any

from carillon_operator.state.observed_pods import MOST_ENDS, ObservedPods

JOB = ("team-a", "nightly-1")
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


def pod(
    uid: str, state: dict[str, Any], phase: str = "Pending", created: str = "2026-01-01T00:00:00Z"
) -> dict[str, Any]:
    """Return a pod as the API server shows it."""
    return {
        "metadata": {"name": uid, "uid": uid, "creationTimestamp": created},
        "status": {"phase": phase, "containerStatuses": [{"name": "a", "state": state}]},
    }


def test_a_job_does_some_work_if_one_pod_has_no_trouble() -> None:
    """Although another cannot start; one that has ended does no work any more."""
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
    pods.take(JOB, "j1", pod("zero", {"terminated": {"exitCode": 1}}, "Failed", created="2025-12-31T23:59:59Z"))
    seen = pods.of("team-a", "j1")
    assert not seen.some_work
    assert seen.trouble is not None
    assert seen.living


def test_the_newest_pod_speaks_also_after_another_is_gone() -> None:
    """Of two that were created in the same second, the one that was seen later."""
    pods = ObservedPods()
    pods.take(JOB, "j1", pod("one", PULL))
    pods.take(JOB, "j1", pod("two", {"running": {}}, "Running"))
    pods.take(JOB, "j1", pod("old", {"running": {}}, "Running", created="2025-12-31T23:59:59Z"))
    assert pods.of("team-a", "j1").trouble is None
    pods.gone("team-a", "j1", "two")
    assert pods.of("team-a", "j1").trouble is not None
    for uid in ("one", "old"):
        pods.gone("team-a", "j1", uid)
    seen = pods.of("team-a", "j1")
    assert (seen.trouble, seen.living, seen.seen) == (None, False, True)


def test_a_pod_in_its_grace_lives_until_it_is_given_up() -> None:
    """Beside one that lives without a bound, it does not matter."""
    pods, later = ObservedPods(), datetime(2026, 1, 1, 1, tzinfo=UTC)
    dying = pod("one", {"running": {}}, "Running")
    dying["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z"
    pods.take(JOB, "j1", dying)
    assert pods.of("team-a", "j1").living
    assert pods.given_up_at("team-a", "j1") == datetime(2026, 1, 1, 0, 0, 40, tzinfo=UTC)
    pods.take(JOB, "j1", pod("two", {"running": {}}, "Running"))
    assert pods.given_up_at("team-a", "j1") is None
    assert pods.give_up("team-a", "j1", later)
    assert pods.of("team-a", "j1").living
    pods.gone("team-a", "j1", "two")
    assert not pods.of("team-a", "j1").living


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
