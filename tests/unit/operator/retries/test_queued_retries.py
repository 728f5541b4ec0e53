"""The identity of a queued container's Job, which the Job of its next attempt takes over."""

import copy

from carillon_core.ports import JobEvent
from carillon_core.resources.names import LABEL_QUEUE
from support.builders import FIRST, at
from support.operator import KEY, Operator, operator

__all__ = ["operator"]

CONTAINER = {"container": {"image": "busybox:1"}}


async def test_a_pod_that_is_seen_before_its_job_does_not_say_what_the_next_attempt_is(operator: Operator) -> None:
    """It knows neither the version of its owner nor the queue: two watches have no common order."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER, retry={"limit": 2}, queueName="team")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    job = copy.deepcopy(operator.cluster.jobs[KEY[0], FIRST])
    pod = copy.deepcopy(next(iter(operator.cluster.pods.values())))
    operator.restart()
    operator.now = at("00:00:36")
    for raw in await operator.cluster.tasks.list(None):
        operator.app.store.tasks.put(raw)
    for kind in ("Job", "Pod"):
        operator.take(JobEvent("LISTING", kind, {}))
        operator.take(JobEvent("SYNCED", kind, {}))
    operator.take(JobEvent("ADDED", "Pod", pod))
    operator.take(JobEvent("ADDED", "Job", job))
    found = operator.app.store.jobs.get(KEY[0], FIRST)
    assert found is not None
    meta = operator.app.store.jobs.raw_of(found)["metadata"]
    assert meta["ownerReferences"] == job["metadata"]["ownerReferences"]
    assert meta["labels"] == job["metadata"]["labels"]
    assert LABEL_QUEUE in meta["labels"]
