"""Builds the Job of an execution as plain JSON from an ``Order``. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from carillon_core import contract
from carillon_core.contract import ExitCode
from carillon_core.domain.egress.rules import CLOSED, AllowList
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.job_templates import completions_annotation, job_spec, own_metadata
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.pod_ends import DISRUPTION_TARGET, RUNNER_CONTAINER, USER_CONTAINER
from carillon_core.domain.observed.retries import Retries, attempt_seconds
from carillon_core.domain.pod_settings import RUNNER_RESOURCES, joined, merged, pod_fields, resources_field
from carillon_core.resources import names
from carillon_core.resources.base import Model, rfc3339
from carillon_core.resources.containers import ContainerTask, EnvironmentVariable
from carillon_core.resources.http_target import HTTPTargetSpec
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.tasks import HTTPTask

START_SECONDS = 300
"""How long a pod may take to be scheduled, pull its image and start, in addition to the time of its task."""
GRACE_SECONDS = 30
"""How long a runner may take to record its end after its timeout or SIGTERM."""
LOST_PODS = 3
"""How many lost pods of a runner's Job are replaced."""
RUNNER_SECRET_KEY = "database-url"  # noqa: S105  # the name of a key, not a secret
CLAIM_SECONDS = 300
"""How long, at least, a runner waits until it can claim its execution: its task's time-out does not count that."""
FINAL_EXIT_CODES = (
    ExitCode.FAILED,
    ExitCode.MISCONFIGURED,
    ExitCode.ALREADY_CLAIMED,
    ExitCode.TIMED_OUT,
    ExitCode.CANCELLED,
)
"""Exit codes after which no other pod follows: the execution has ended, or another pod would fail in the same way."""

# The API server accepts it only with podReplacementPolicy Failed and restartPolicy Never.
_IGNORE_DISRUPTIONS = {"action": "Ignore", "onPodConditions": [{"type": DISRUPTION_TARGET, "status": "True"}]}


@dataclass(frozen=True, slots=True)
class RecorderAddress:
    """Where runners find the recorder, and how they know that it is the recorder."""

    url: str
    ca: str | None = None
    """PEM certificates that the recorder's must be signed by; None: those that the runner's image trusts."""


@dataclass(frozen=True, slots=True)
class RunnerTemplate:
    """The settings that all runner pods share."""

    image: str
    token_key: TokenKey
    """Signs the token that allows a runner to record its own execution."""
    recorder: RecorderAddress | None = None
    """What runners report to; None: they record in the database themselves."""
    secret_name: str = names.RUNNER_SECRET
    """Without a recorder: the Secret in the task's namespace whose key ``database-url`` has the runner's login."""
    image_pull_policy: str = "IfNotPresent"
    http_allow: AllowList = CLOSED
    """The addresses, besides public ones, that HTTP tasks may reach."""
    pod: PodSettings = field(default_factory=PodSettings)
    """The default settings of all pods, including those of container tasks."""
    queue_name: str | None = None
    """The LocalQueue for Jobs of tasks that name none; None means that they are not queued."""


def job_manifest(order: Order, template: RunnerTemplate) -> dict[str, Any]:
    """Return the body of the Job that runs an order."""
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_TASK: order.task_name,
        names.LABEL_TASK_UID: order.task_uid,
    }
    if order.request_name is not None:
        labels |= {names.LABEL_REQUEST: order.request_name, names.LABEL_REQUEST_UID: order.owner.uid}
    queue_name = order.queue_name or template.queue_name
    queued: dict[str, str] = {} if queue_name is None else {names.LABEL_QUEUE: queue_name}
    annotations = {
        names.ANNOTATION_SLOT: rfc3339(order.slot),
        names.ANNOTATION_EXECUTION_ID: str(order.execution_id),
        names.ANNOTATION_TASK_TYPE: order.task.type,
    }
    if order.retry_of is not None:
        annotations[names.ANNOTATION_RETRY_OF] = str(order.retry_of)
    job = order.task.job
    if job is None:
        pod = _pod_spec(order, template)
        annotations |= _retries_annotation(order, pod, queued=bool(queued))
        metadata = {"labels": labels | queued, "annotations": annotations}
        spec = {**_tries(order), "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}}
    else:
        annotations |= completions_annotation(job)
        metadata = own_metadata(job.template, {"labels": labels | queued, "annotations": annotations})
        spec = job_spec(job, order, {"labels": labels, "annotations": annotations}, template.pod)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.job_name,
            "namespace": order.owner.namespace,
            **metadata,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": order.owner_kind,
                    "name": order.owner.name,
                    "uid": order.owner.uid,
                    "controller": True,
                    # deleting the task must not wait for the deletion of this Job
                    "blockOwnerDeletion": False,
                }
            ],
        },
        # Kueue resumes it when there is quota; Kueue would also suspend it, but only after a pod has been created
        "spec": {**spec, **({"suspend": True} if queued else {})},
    }


def _tries(order: Order) -> dict[str, Any]:
    """Return how often the Job retries, and its deadline."""
    if order.task.container is not None:
        return container_tries(attempt_seconds(order.retry, order.timeout_seconds)[0])
    return {
        # A pod that is lost is followed by another, which finds out from the row whether it may run the task. A node
        # that is drained, or a pod that is preempted, does not count as a failure. The exit codes come first: they say
        # that the row has its end, however the pod came to it.
        "backoffLimit": LOST_PODS,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": RUNNER_CONTAINER,
                        "operator": "In",
                        "values": [int(code) for code in FINAL_EXIT_CODES],
                    },
                },
                _IGNORE_DISRUPTIONS,
            ]
        },
        # The runner applies the timeout itself, after the wait until it can claim the execution. This deadline, counted
        # from the Job's creation, ends pods that cannot end themselves.
        "activeDeadlineSeconds": _claim_seconds(order) + order.timeout_seconds + START_SECONDS + GRACE_SECONDS,
    }


def container_tries(seconds: int) -> dict[str, Any]:
    """Return the fields of the Job of a container's attempt, whose pod has this deadline in seconds.

    The Job is one attempt: Kubernetes would choose the wait before another. A pod that a drain ends does not count; the
    additional time is for the pod that follows it.
    """
    return {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": [_IGNORE_DISRUPTIONS]},
        "activeDeadlineSeconds": min((seconds + START_SECONDS) * 2, 2**31 - 1),
    }


def _is_retried(order: Order) -> bool:
    return bool(order.retry.limit or order.retry.attempt_timeout_seconds)


def _retries_annotation(order: Order, pod: dict[str, Any], *, queued: bool) -> dict[str, str]:
    """Return what tells the operator how a container is retried; runners retry by themselves."""
    if order.task.container is None or not _is_retried(order):
        return {}
    retries = Retries.first(order.retry, order.timeout_seconds, pod, queued=queued)
    return {names.ANNOTATION_RETRIES: retries.encoded()}


def _claim_seconds(order: Order) -> int:
    return max(order.timeout_seconds, CLAIM_SECONDS)


def _pod_spec(order: Order, template: RunnerTemplate) -> dict[str, Any]:
    settings = merged(template.pod, order.pod)
    common = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        **pod_fields(settings),
    }
    if (task := order.task.container) is not None:
        account = {"serviceAccountName": task.service_account_name} if task.service_account_name else {}
        return {
            **common,
            **account,
            "automountServiceAccountToken": task.automount_service_account_token,
            "activeDeadlineSeconds": attempt_seconds(order.retry, order.timeout_seconds)[0],
            "securityContext": {
                "runAsNonRoot": True,
                **({"runAsUser": task.run_as_user} if task.run_as_user else {}),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_user_container(order, task)],
            **({"volumes": list(task.volumes)} if task.volumes else {}),
        }
    return {
        **common,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": RUNNER_CONTAINER,
                "image": template.image,
                "imagePullPolicy": template.image_pull_policy,
                "env": _runner_env(order, template),
                "resources": resources_field(joined(RUNNER_RESOURCES, settings.resources)),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _user_container(order: Order, task: ContainerTask) -> dict[str, Any]:
    identity = _identity(order)
    own = {variable.name for variable in task.env}
    given: dict[str, Any] = {
        "name": USER_CONTAINER,
        "image": task.image,
        "env": [
            *({"name": name, "value": value} for name, value in identity.items() if name not in own),
            *map(_variable, task.env),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    optional = {
        "envFrom": _dumped(task.env_from),
        "volumeMounts": _dumped(task.volume_mounts),
        "command": task.command,
        "args": task.args,
        "workingDir": task.working_dir,
        "resources": resources_field(task.resources),
    }
    return given | {name: value for name, value in optional.items() if value}


def _variable(variable: EnvironmentVariable) -> dict[str, Any]:
    if variable.value_from is not None:
        return {"name": variable.name, "valueFrom": _dumped([variable.value_from])[0]}
    return {"name": variable.name, "value": (variable.value or "").replace("$", "$$")}


def _dumped(parts: Sequence[Model]) -> list[dict[str, Any]]:
    """Return parts of a container in the API server's words, without what has its default."""
    return [part.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for part in parts]


def _identity(order: Order) -> dict[str, str]:
    """Return the environment variables that identify the execution; none of them is a secret."""
    return {
        contract.ENV_EXECUTION_ID: str(order.execution_id),
        contract.ENV_TASK_UID: order.task_uid,
        contract.ENV_ORIGIN: order.owner.uid,
        contract.ENV_TASK_NAMESPACE: order.owner.namespace,
        contract.ENV_TASK_NAME: order.task_name,
        contract.ENV_SLOT: rfc3339(order.slot),
        contract.ENV_CAUSE: order.cause.value,
        contract.ENV_JOB_NAME: order.job_name,
    }


def _runner_env(order: Order, template: RunnerTemplate) -> list[dict[str, Any]]:
    encoded, secrets = _runner_task(order)
    plain = {
        **_identity(order),
        **_task_variables(encoded),
        contract.ENV_TIMEOUT_SECONDS: str(order.timeout_seconds),
        contract.ENV_CLAIM_SECONDS: str(_claim_seconds(order)),
        contract.ENV_EXECUTION_TOKEN: template.token_key.token(order.token_payload()),
    }
    if _is_retried(order):
        plain[contract.ENV_RETRY] = json.dumps(order.retry.model_dump(mode="json", exclude_none=True))
    if order.parameters:
        plain[contract.ENV_PARAMETERS] = json.dumps(dict(order.parameters)).replace("$", "$$")
    if order.time_zone != "UTC":
        plain[contract.ENV_TIME_ZONE] = order.time_zone
    if order.task.http is not None and template.http_allow.text:
        plain[contract.ENV_HTTP_ALLOW] = template.http_allow.text
    return [
        *({"name": key, "value": value} for key, value in plain.items()),
        *secrets,
        {"name": contract.ENV_POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *_where_to_record(template),
    ]


def _where_to_record(template: RunnerTemplate) -> list[dict[str, Any]]:
    if template.recorder is None:
        reference = {"secretKeyRef": {"name": template.secret_name, "key": RUNNER_SECRET_KEY}}
        return [{"name": contract.ENV_DATABASE_URL, "valueFrom": reference}]
    url = [{"name": contract.ENV_RECORDER_URL, "value": template.recorder.url}]
    ca = template.recorder.ca
    return url if ca is None else [*url, {"name": contract.ENV_RECORDER_CA, "value": ca}]


def _runner_task(order: Order) -> tuple[str, list[dict[str, Any]]]:
    """Return the task in the form that the runner reads, and the variables with its target's secrets."""
    task: dict[str, Any] = order.task.model_dump(mode="json", exclude_none=True)
    http, target = order.task.http, order.target.spec if order.target else None
    if http is None or http.target_ref is None or target is None:
        return json.dumps(task), []
    resolved, references = _resolved(http, target)
    secrets = [
        {
            "name": f"{contract.ENV_SECRET_PREFIX}{number}",
            # optional: the runner says which one is missing, and fails at once
            "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": True}},
        }
        for number, (name, key) in enumerate(references)
    ]
    return json.dumps({"http": resolved}), secrets


def _resolved(http: HTTPTask, target: HTTPTargetSpec) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return an HTTP task merged with its target, whose fields it overrides, and the keys of Secrets that it needs."""
    references: list[tuple[str, str]] = []

    def variable(name: str, key: str) -> dict[str, str]:
        references.append((name, key))
        return {"variable": f"{contract.ENV_SECRET_PREFIX}{len(references) - 1}", "source": f"{name}/{key}"}

    own = {name.lower() for name in http.headers}
    inherited = [header for header in target.headers if header.name.lower() not in own]
    resolved: dict[str, Any] = {
        "url": target.url,
        "method": http.method or target.method,
        "headers": {h.name: h.value for h in inherited if h.value is not None} | http.headers,
        "expectedStatuses": http.expected_statuses or target.expected_statuses,
        "maxRedirects": target.max_redirects if http.max_redirects is None else http.max_redirects,
        "secretHeaders": [
            {"name": header.name, **variable(header.secret_key_ref.name, header.secret_key_ref.key)}
            for header in inherited
            if header.secret_key_ref is not None
        ],
        "signing": [variable(ref.name, ref.key) for ref in (target.signing.secret_key_refs if target.signing else ())],
    }
    body = target.body if http.body is None else http.body
    if body is not None:
        resolved["body"] = body
    return resolved, references


def _task_variables(encoded: str) -> dict[str, str]:
    """Return the task as one variable, or as several if it is longer than Linux allows (128 KiB)."""
    size = contract.MAX_VARIABLE_LENGTH
    parts = [encoded[start : start + size] for start in range(0, len(encoded), size)]
    names_of_parts = [contract.ENV_TASK, *(f"{contract.ENV_TASK}_{k}" for k in range(1, len(parts)))]
    # "$(" begins a reference to another variable in Kubernetes, "$$" is a plain "$"
    return {name: part.replace("$", "$$") for name, part in zip(names_of_parts, parts, strict=True)}
