"""How often a task's status changes: twice for a launch, which the operator writes as one, and once for an end."""

import pytest

from carillon_core.domain.execution import job_name
from support.builders import at
from support.operator import KEY, Operator, operator

__all__ = ["operator"]


async def written(operator: Operator) -> int:
    """Return the version of the task, which each write of its status increases."""
    return int((await operator.cluster.tasks.get(*KEY))["metadata"]["resourceVersion"])


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("task", [{"container": {"image": "x:1"}}, {"counter": {}}], ids=["container", "runner"])
async def test_an_execution_changes_the_status_three_times(
    operator: Operator, task: dict[str, object], code: int
) -> None:
    """The Job's own status comes after its pod's and says nothing new."""
    await operator.create_task(intervalSeconds=60, task=task)
    await operator.turn("00:00:30")
    for minute in (1, 2):
        before, name = await written(operator), job_name(KEY[1], at(f"00:0{minute}:00"))
        await operator.turn(f"00:0{minute}:00")
        operator.cluster.start_pod(KEY[0], name)
        await operator.turn(f"00:0{minute}:01")
        assert await written(operator) - before == 2, "the slot is launched; its Job is active"
        operator.cluster.finish_pod(KEY[0], name, code)
        await operator.turn(f"00:0{minute}:05")
        operator.cluster.finish_job(KEY[0], name, failed="BackoffLimitExceeded" if code else None)
        await operator.turn(f"00:0{minute}:06")
        assert await written(operator) - before == 3
