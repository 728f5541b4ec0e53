"""A pod that never started because its image is missing: its execution's end says so, however it ended."""

from typing import Any

import pytest

from carillon_core.domain.execution import job_name
from support.builders import at
from support.operator import KEY, Operator, operator

__all__ = ["operator"]

NAME = job_name(KEY[1], at("00:00:30"))
PULL = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x:1"'}
LOST = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located"}
WHY = 'its pod cannot start: ImagePullBackOff: Back-off pulling image "x:1"'

ENDS: dict[str, tuple[dict[str, Any], str]] = {
    "the kubelet says nothing": ({"phase": "Failed"}, WHY),
    "the kubelet does not know the container": (
        {"phase": "Failed", "containerStatuses": [{"name": "task", "state": {"terminated": LOST}}]},
        WHY,
    ),
    "it ran after all": (
        {
            "phase": "Failed",
            "containerStatuses": [
                {"name": "task", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "boom"}}}
            ],
        },
        "boom",
    ),
}


@pytest.mark.parametrize(("end", "want"), ENDS.values(), ids=ENDS.keys())
async def test_an_execution_whose_image_is_missing_ends_with_that_message(
    operator: Operator, end: dict[str, Any], want: str
) -> None:
    """Its time limit was shorter than the operator's patience, and the pod's own end does not say why."""
    image = {"container": {"image": "x:1"}}
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=image, timeoutSeconds=20)
    await operator.turn("00:00:30")
    pod = (KEY[0], operator.cluster.start_pod(KEY[0], NAME)["metadata"]["name"])
    operator.cluster.pods[pod]["status"] = {
        "phase": "Pending",
        "containerStatuses": [{"name": "task", "state": {"waiting": PULL}}],
    }
    await operator.turn("00:00:35")
    operator.cluster.pods[pod]["status"] = end
    operator.cluster.finish_job(KEY[0], NAME, failed="DeadlineExceeded")
    await operator.turn("00:00:50")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status.last_execution is not None
    (row,) = operator.history.rows.values()
    assert row.message == task.status.last_execution.message == want


async def test_an_old_trouble_of_a_pod_that_ran_is_no_reason_for_its_end(operator: Operator) -> None:
    """The image came in time; the pod failed later."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task={"container": {"image": "x:1"}})
    await operator.turn("00:00:30")
    pod = (KEY[0], operator.cluster.start_pod(KEY[0], NAME)["metadata"]["name"])
    waits = {"phase": "Pending", "containerStatuses": [{"name": "task", "state": {"waiting": PULL}}]}
    for status in (waits, {"phase": "Running"}, {"phase": "Failed"}):
        operator.cluster.pods[pod]["status"] = status
        await operator.turn("00:00:35")
    (row,) = operator.history.rows.values()
    assert row.message == "the pod failed"
