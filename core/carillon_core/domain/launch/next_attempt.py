"""Makes the Job of a container's next attempt from the Job of the one that failed. Pure.

The pod is that of the first attempt, whatever the task says by now.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from carillon_core import contract
from carillon_core.domain.execution import attempt_job_name
from carillon_core.domain.launch.manifest import container_tries
from carillon_core.domain.observed.job_reading import execution_began
from carillon_core.domain.observed.jobs import ActiveJob
from carillon_core.domain.observed.retries import PLACEMENT, attempt_seconds
from carillon_core.resources import names

_LABELS = (
    *(names.LABEL_MANAGED_BY, names.LABEL_TASK, names.LABEL_TASK_UID),
    *(names.LABEL_REQUEST, names.LABEL_REQUEST_UID),
)
_ANNOTATIONS = (
    *(names.ANNOTATION_SLOT, names.ANNOTATION_EXECUTION_ID),
    *(names.ANNOTATION_TASK_TYPE, names.ANNOTATION_RETRY_OF),
)
"""What identifies an execution. The Job controller, a queue and users add others, which are not taken over."""


def next_attempt_name(job: ActiveJob) -> str:
    """Return the name of the Job of the attempt after this one."""
    return attempt_job_name(job.first_name, job.slot, job.cause, job.number + 1)


def next_attempt(raw: Mapping[str, Any], job: ActiveJob, now: datetime) -> dict[str, Any]:
    """Return the body of the Job of the next attempt.

    Args:
        raw: The Job of the failed attempt, as the API server has it.
        job: The same as observed; it waits for the next attempt.
        now: The current time.

    Raises:
        ValueError: The Job does not say how it is retried.

    """
    if job.retries is None:
        msg = f"Job {job.name} is not retried"
        raise ValueError(msg)
    began = execution_began(job)
    left = max(1, job.retries.timeout_seconds - int((now - began).total_seconds()))
    seconds, _ = attempt_seconds(job.retries.policy, left)
    name = next_attempt_name(job)
    meta = raw["metadata"]
    labels = {key: value for key, value in meta["labels"].items() if key in _LABELS}
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key in _ANNOTATIONS}
    annotations[names.ANNOTATION_RETRIES] = job.retries.followed(job.attempts, began, left).encoded()
    queue = {key: value for key, value in meta["labels"].items() if key == names.LABEL_QUEUE}
    pod = dict(raw["spec"]["template"]["spec"])
    if queue:
        pod = {key: value for key, value in pod.items() if key not in PLACEMENT} | dict(job.retries.placement)
    pod["activeDeadlineSeconds"] = seconds
    pod["containers"] = [_renamed(each, job.name, name) for each in pod["containers"]]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": labels | queue,
            "annotations": annotations,
            "ownerReferences": [dict(each) for each in meta["ownerReferences"] if each.get("controller")],
        },
        "spec": {
            **container_tries(seconds),
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
            **({"suspend": True} if queue else {}),
        },
    }


def _renamed(container: Mapping[str, Any], before: str, now: str) -> dict[str, Any]:
    """Return a container that knows the name of its Job."""
    env = [
        {**each, "value": now} if (each["name"], each.get("value")) == (contract.ENV_JOB_NAME, before) else each
        for each in container.get("env") or ()
    ]
    return {**container, **({"env": env} if env else {})}
