"""CronJobs that do what tasks of scenarios do, as a careful user would write them. Pure."""

from typing import Any

from carillon_core.resources import names
from faults.plans.scenarios import ScenarioTask

GRACE_SECONDS = 90
"""The grace period of pods: more than any container needs to its end."""
_JOB_LABEL = "metadata.labels['batch.kubernetes.io/job-name']"


def cronjob(task: ScenarioTask, pulses: str) -> dict[str, Any]:
    """Return the CronJob of a task with a container, which notes the time in a file while it lives.

    Each slot gets one pod: a failed one is not replaced, as an execution without a
    retry policy has one attempt.
    """
    spec = task.body("", pulses)["spec"]
    container = spec.pop("task")["container"]
    labels = {names.LABEL_TASK: task.name}
    job = {"fieldRef": {"fieldPath": _JOB_LABEL}}
    environment = [
        {"name": "CARILLON_TASK_NAME", "value": task.name},
        {"name": "CARILLON_JOB_NAME", "valueFrom": job},
        *container.pop("env", ()),
    ]
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [{"name": "runner", **container, "env": environment}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": task.name},
        "spec": {
            **spec,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
            },
        },
    }
