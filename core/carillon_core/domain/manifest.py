"""The runner Job of a slot, as plain JSON. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carillon_core import contract
from carillon_core.contract import Cause
from carillon_core.domain.execution import job_name
from carillon_core.domain.observed import ObservedTask
from carillon_core.domain.plan import Launch
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339

START_SECONDS = 300
"""How long a pod may take to be scheduled, to pull its image and to start, on top of what its task may take."""
GRACE_SECONDS = 30
"""How long after its own time-out, or after SIGTERM, a runner may take to record its end."""
RUNNER_SECRET = "carillon-runner"  # noqa: S105  # the name of a Secret, not a secret
RUNNER_SECRET_KEY = "database-url"  # noqa: S105  # the name of a key, not a secret


@dataclass(frozen=True, slots=True)
class RunnerTemplate:
    """What all runner pods have in common."""

    image: str
    secret_name: str = RUNNER_SECRET
    """The Secret of the task's namespace whose ``database-url`` the runner records with."""
    image_pull_policy: str = "IfNotPresent"
    job_ttl_seconds: int = 600
    """How long a finished Job stays to be looked at."""
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "10m", "memory": "48Mi"},
            "limits": {"memory": "256Mi"},
        }
    )


def job_manifest(task: ObservedTask, launch: Launch, template: RunnerTemplate) -> dict[str, Any]:
    """Return the body of the Job that runs a slot.

    Raises:
        ValueError: If the task has no valid spec; ``decide`` launches no such task.

    """
    if task.spec is None:
        msg = f"{task.meta.namespace}/{task.meta.name} has no valid spec"
        raise ValueError(msg)
    name = job_name(task.meta.name, launch.slot)
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_TASK: task.meta.name,
        names.LABEL_TASK_UID: task.meta.uid,
    }
    annotations = {
        names.ANNOTATION_SLOT: rfc3339(launch.slot),
        names.ANNOTATION_EXECUTION_ID: str(launch.execution_id),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": task.meta.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": task.meta.name,
                    "uid": task.meta.uid,
                    "controller": True,
                    # the garbage collector must not wait for a Job before it deletes its task
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            # The runner keeps the time-out itself, once for the wait for the database and once for the task. This
            # deadline ends what cannot end itself; it counts from the Job's creation.
            "activeDeadlineSeconds": 2 * task.spec.timeout_seconds + START_SECONDS + GRACE_SECONDS,
            "ttlSecondsAfterFinished": template.job_ttl_seconds,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod_spec(task, launch, template, name),
            },
        },
    }


def _pod_spec(task: ObservedTask, launch: Launch, template: RunnerTemplate, name: str) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "runner",
                "image": template.image,
                "imagePullPolicy": template.image_pull_policy,
                "env": _runner_env(task, launch, template, name),
                "resources": dict(template.resources),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _runner_env(task: ObservedTask, launch: Launch, template: RunnerTemplate, name: str) -> list[dict[str, Any]]:
    if task.spec is None:  # job_manifest has refused it already
        return []
    cause: Cause = launch.cause
    plain = {
        contract.ENV_EXECUTION_ID: str(launch.execution_id),
        contract.ENV_TASK_UID: task.meta.uid,
        contract.ENV_TASK_NAMESPACE: task.meta.namespace,
        contract.ENV_TASK_NAME: task.meta.name,
        contract.ENV_SLOT: rfc3339(launch.slot),
        contract.ENV_CAUSE: cause.value,
        **_task_variables(json.dumps(task.spec.task.model_dump(mode="json", exclude_none=True))),
        contract.ENV_TIMEOUT_SECONDS: str(task.spec.timeout_seconds),
        contract.ENV_JOB_NAME: name,
    }
    return [
        *({"name": key, "value": value} for key, value in plain.items()),
        {"name": contract.ENV_POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {
            "name": contract.ENV_DATABASE_URL,
            "valueFrom": {"secretKeyRef": {"name": template.secret_name, "key": RUNNER_SECRET_KEY}},
        },
    ]


def _task_variables(encoded: str) -> dict[str, str]:
    """Return the task as one variable, or as several where one would be longer than Linux takes (128 KiB)."""
    size = contract.MAX_VARIABLE_LENGTH
    parts = [encoded[start : start + size] for start in range(0, len(encoded), size)]
    names_of_parts = [contract.ENV_TASK, *(f"{contract.ENV_TASK}_{k}" for k in range(1, len(parts)))]
    # "$(" begins a reference to another variable in Kubernetes, "$$" is a plain "$"
    return {name: part.replace("$", "$$") for name, part in zip(names_of_parts, parts, strict=True)}
