"""How a pod ended, read from its status."""

from carillon_core.domain.observed.pod_ends import pod_end
from support.builders import POD_OF_FIRST


def test_a_sidecar_does_not_speak_for_the_runner() -> None:
    """The runner's exit code counts, in whatever order the API server lists the containers."""
    states = [
        {"name": "istio-proxy", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "runner", "state": {"terminated": {"exitCode": 5, "reason": "Error", "message": "too long"}}},
    ]
    end = pod_end({"metadata": POD_OF_FIRST, "status": {"phase": "Failed", "containerStatuses": states}})
    assert end is not None
    assert (end.exit_code, end.message) == (5, "too long")
