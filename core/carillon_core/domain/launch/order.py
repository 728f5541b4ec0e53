"""The order that the launcher gets: one execution of a task's slot or of a request. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import ExecutionRecord, job_name, request_job_name
from carillon_core.domain.observed.jobs import ObservedRequest, ObservedTarget, ObservedTask
from carillon_core.domain.validity.parameters import requested_task
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import DEFAULT_TIMEOUT_SECONDS
from carillon_core.resources.tasks import RetryPolicy, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One execution to launch."""

    job_name: str
    owner: ObjectMeta
    """The metadata of the object that owns the Job."""
    owner_kind: str
    execution_id: UUID
    slot: datetime
    cause: Cause
    task_name: str
    task_uid: str
    task: Task
    target: ObservedTarget | None
    timeout_seconds: int
    """The time-out, or the default of tasks that set none: the target's, if it sets one."""
    retry: RetryPolicy
    time_zone: str = "UTC"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    request_name: str | None = None
    retry_of: UUID | None = None
    """The execution that it retries."""
    own_timeout_seconds: int | None = None
    """The time-out that the task or the request sets, if it sets one."""
    queue_name: str | None = None
    pod: PodSettings = field(default_factory=PodSettings)

    @property
    def container(self) -> bool:
        """Whether it runs the user's own containers instead of a runner."""
        return self.task.runs_own_pods

    def token_payload(self) -> dict[str, str | None]:
        """Return the payload of the execution's token: everything that identifies its row."""
        counter = self.task.counter
        return {
            "id": str(self.execution_id),
            "task_uid": self.task_uid,
            "origin": self.owner.uid,
            "namespace": self.owner.namespace,
            "task": self.task_name,
            "task_type": self.task.type,
            "slot": rfc3339(self.slot),
            "cause": self.cause.value,
            "job_name": self.job_name,
            "retry_of": None if self.retry_of is None else str(self.retry_of),
            # the one that it may increment; with a NUL, Postgres could read nothing of the token, and with a name
            # without it, the runner is refused no more than this counter
            "counter": None if counter is None else (counter.name or self.task_name).replace("\0", ""),
        }

    def running_row(self, now: datetime) -> ExecutionRecord:
        """Return the row of an execution that is launched now."""
        return ExecutionRecord(
            id=self.execution_id,
            task_uid=self.task_uid,
            origin=self.owner.uid,
            namespace=self.owner.namespace,
            task=self.task_name,
            task_type=self.task.type,
            slot=self.slot,
            cause=self.cause,
            status=ExecutionStatus.RUNNING,
            job_name=self.job_name,
            created_at=now,
            started_at=now,
            retry_of=self.retry_of,
        )


def slot_order(task: ObservedTask, launch: Launch) -> Order:
    """Return the order for a task's slot.

    Raises:
        ValueError: If the task has no valid spec; ``decide`` launches no such task.

    """
    if task.spec is None:
        msg = f"{task.meta.namespace}/{task.meta.name} has no valid spec"
        raise ValueError(msg)
    return Order(
        job_name=job_name(task.meta.name, launch.slot),
        owner=task.meta,
        owner_kind=names.KIND,
        execution_id=launch.execution_id,
        slot=launch.slot,
        cause=launch.cause,
        task_name=task.meta.name,
        task_uid=task.meta.uid,
        task=task.spec.task,
        target=task.target,
        timeout_seconds=_timeout(task.spec.timeout_seconds, task.target),
        own_timeout_seconds=task.spec.timeout_seconds,
        retry=task.spec.retry,
        time_zone=task.spec.time_zone or "UTC",
        queue_name=task.spec.queue_name,
        pod=task.spec.pod,
    )


def _timeout(own: int | None, target: ObservedTarget | None) -> int:
    of_target = target.spec.timeout_seconds if target is not None and target.spec is not None else None
    return own or of_target or DEFAULT_TIMEOUT_SECONDS


def request_order(request: ObservedRequest, task: ObservedTask | None, launch: Launch) -> Order:
    """Return the order for a request, with its parameters applied.

    Raises:
        ValueError: If it cannot be run; ``decide_request`` launches no such request.

    """
    wanted = requested_task(request.spec, task) if request.spec else ()
    if request.spec is None or not isinstance(wanted, Task):
        msg = f"RunRequest {request.meta.namespace}/{request.meta.name} cannot be run"
        raise ValueError(msg)
    spec, base = request.spec, task.spec if task else None
    timeout = spec.timeout_seconds or (base.timeout_seconds if base else None)
    target = request.target if request.target_name else (task.target if task else None)
    return Order(
        job_name=request_job_name(request.meta.name, request.meta.uid),
        owner=request.meta,
        owner_kind=names.KIND_REQUEST,
        execution_id=launch.execution_id,
        slot=launch.slot,
        cause=launch.cause,
        task_name=task.meta.name if task else request.meta.name,
        task_uid=task.meta.uid if task else request.meta.uid,
        task=wanted,
        target=target,
        timeout_seconds=_timeout(timeout, target),
        own_timeout_seconds=timeout,
        retry=spec.retry or (base.retry if base else RetryPolicy()),
        time_zone=(base.time_zone if base else None) or "UTC",
        parameters=spec.parameters,
        request_name=request.meta.name,
        retry_of=spec.retry_of,
        queue_name=spec.queue_name or (base.queue_name if base else None),
        pod=spec.pod or (base.pod if base else PodSettings()),
    )
