"""Has the API server judge the Job of a task before the task is stored, without storing the Job.

An unknown field or a wrong quantity in the template of a job would otherwise be
noticed when the first slot is due. The admission webhook calls it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_core.contract import Cause
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import Order
from carillon_core.errors import CarillonError, FieldProblem, InvalidResourceError, RefusedError
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject
from carillon_core.resources import names
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import DEFAULT_TIMEOUT_SECONDS, parse_spec
from carillon_core.resources.tasks import RetryPolicy, Task

log = get_logger(__name__)

SECONDS = 3.0
"""The maximum time for a trial; shorter than the webhook's own timeout."""
_NOBODY = str(UUID(int=0))
_CONTAINER = "spec.template.spec.containers[0]"
_VARIABLE = re.compile(r"^spec\.task\.container\.env\[(\d+)\]")

TryJob = Callable[[JSONObject], Awaitable[object]]
"""Has the API server judge a Job as strictly as it can, and raises what a creation would raise."""


class UntriedError(Exception):
    """The API server has not judged the Job; the message says why."""


@dataclass(frozen=True, slots=True)
class JobTrial:
    """Tries the Jobs of tasks that run their own pods."""

    template: RunnerTemplate
    create: TryJob
    clock: Callable[[], datetime]

    async def problems(
        self, kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> tuple[FieldProblem, ...]:
        """Return what the API server says of an object's Job; nothing if the object's own pods are unchanged.

        Args:
            kind: ScheduledTask, HTTPTarget or RunRequest.
            new: The object to store, which has no other problems.
            old: The object that it replaces, if any.

        Raises:
            UntriedError: The API server could not be asked, or refuses every Job now, for example by a quota.

        """
        order = self._order(kind, new)
        if order is None or (old is not None and self._order(kind, old) == order):
            return ()
        manifest = job_manifest(order, self.template)
        try:
            async with asyncio.timeout(SECONDS):
                await self.create(manifest)
        except RefusedError as error:
            if not error.problems and "forbidden" in str(error):  # a quota or a policy: another time it may be let in
                raise UntriedError(f"the API server would currently reject the Job: {error}") from error
            return tuple(_translated(error, order, manifest))
        except (CarillonError, TimeoutError) as error:
            why = str(error) or f"no response within {SECONDS} s"
            log.warning("dry run of the Job failed", why=why)
            raise UntriedError(f"the Job could not be checked with the API server: {why}") from error
        return ()

    def _order(self, kind: str, raw: Mapping[str, Any]) -> Order | None:
        """Return an order for the Job of an object, or None if it has no pods of its own."""
        try:
            found = _run_of(kind, raw)
        except InvalidResourceError:
            return None
        if found is None:
            return None
        task, pod, timeout, queue = found
        meta, slot = raw["metadata"], self.clock().replace(microsecond=0)
        owner = ObjectMeta(name=meta["name"], namespace=meta["namespace"], uid=_NOBODY)
        return Order(
            job_name=job_name(owner.name, slot),
            owner=owner,
            owner_kind=kind,
            execution_id=execution_id(_NOBODY, slot, Cause.SCHEDULE),
            slot=slot,
            cause=Cause.SCHEDULE,
            task_name=owner.name,
            task_uid=_NOBODY,
            task=task,
            target=None,
            timeout_seconds=timeout or DEFAULT_TIMEOUT_SECONDS,
            own_timeout_seconds=timeout,
            retry=RetryPolicy(),
            queue_name=queue,
            pod=pod,
        )


def _run_of(kind: str, raw: Mapping[str, Any]) -> tuple[Task, PodSettings, int | None, str | None] | None:
    if kind == names.KIND:
        spec = parse_spec(raw.get("spec"), strict=False)
        return (spec.task, spec.pod, spec.timeout_seconds, spec.queue_name) if spec.task.runs_own_pods else None
    if kind != names.KIND_REQUEST:
        return None
    request = parse_request_spec(raw.get("spec"), strict=False)
    if request.task is None or not request.task.runs_own_pods:
        return None
    return request.task, request.pod or PodSettings(), request.timeout_seconds, request.queue_name


def _translated(error: RefusedError, order: Order, manifest: Mapping[str, Any]) -> list[FieldProblem]:
    """Return an error of the API server as problems of the task's own fields."""
    whole = "spec.task.job.template" if order.task.job is not None else "spec.task.container"
    if not error.problems:
        return [FieldProblem(whole, str(error))]
    return [FieldProblem(_field(p.path, whole, order, manifest), p.message) for p in error.problems]


def _field(path: str, whole: str, order: Order, manifest: Mapping[str, Any]) -> str:
    """Return the field of a task that a field of its Job came from."""
    if order.task.container is None:
        return f"{whole}.{path}" if path.startswith(("spec.", "metadata.")) else whole
    if path.startswith(_CONTAINER):
        env = manifest["spec"]["template"]["spec"]["containers"][0]["env"]
        ours = len(env) - len(order.task.container.env)
        field = path.replace(_CONTAINER, whole, 1)
        return _VARIABLE.sub(lambda found: f"{whole}.env[{int(found[1]) - ours}]", field)
    if path.startswith("spec.template.spec.volumes"):
        return path.replace("spec.template.spec", whole, 1)
    return whole
