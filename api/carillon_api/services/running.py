"""Cancel an execution, and read the logs of its pods; as the caller, except for the note of who cancels.

The routes of executions call it. A Job or a pod belongs to an execution only
if its annotation has the execution's id, because names are reused.
"""

from contextlib import suppress
from uuid import UUID

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import CancelAccepted, LogsQuery
from carillon_api.services.changes.dry_runs import cancellation
from carillon_api.services.context import Context
from carillon_api.services.retries import wrong_state
from carillon_core.contract import OPEN_STATUSES
from carillon_core.domain.access.subjects import Access
from carillon_core.domain.execution import ExecutionRecord, job_names_of
from carillon_core.domain.observed.pod_ends import RUNNER_CONTAINER, USER_CONTAINER, WHOLE_JOB
from carillon_core.errors import CarillonError, NotFoundError, RefusedError
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject
from carillon_core.resources.names import ANNOTATION_EXECUTION_ID, ANNOTATION_TASK_TYPE, LABEL_TASK_UID

log = get_logger(__name__)

ENDING = (
    "the Job is being deleted: when its pods have ended, the execution is recorded as cancelled, or as succeeded if its"
    " container exits with code 0"
)
NOBODY = str(UUID(int=0))
"""A uid that no object has: deleting it has no effect, but is forbidden without the permission to delete."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation of a pod with the container whose logs kubectl shows."""
GONE = "the Job no longer exists: the execution is closed within about a minute"


async def cancel(ctx: Context, record: ExecutionRecord) -> CancelAccepted:
    """Cancel a running execution by deleting its Job.

    Raises:
        RequestRefusedError: As 409, if it has ended.
        ForbiddenError: The caller may not read or delete Jobs there.

    """
    if record.status not in OPEN_STATUSES:
        raise wrong_state(f"the execution has already ended: {record.status.word}")
    deleted = await _deleted_job(ctx, record)
    if deleted:
        # if the Job was gone before, the caller has cancelled nothing, and may lack the permission to
        await ctx.record_change("cancel", "executions", _as_object(record), None)
    message = ENDING if deleted else GONE
    dry_run = cancellation(record, deleted) if ctx.dry_run else None
    return CancelAccepted(id=record.id, job_name=deleted, message=message, dry_run=dry_run)


async def _deleted_job(ctx: Context, record: ExecutionRecord) -> str | None:
    """Delete the execution's Job and return its name; None if it is gone, or its name belongs to another Job now.

    A container that is retried has a Job for each attempt. There is only the newest one, or for a moment the one before
    it as well: both are deleted, and should another be on its way, the operator ends it.
    """
    deleted: str | None = None
    for name in reversed(job_names_of(record)):
        if await _deleted(ctx, record, name):
            deleted = name
        elif deleted is not None:
            break
    return deleted


async def _deleted(ctx: Context, record: ExecutionRecord, name: str) -> bool:
    """Delete a Job, if it exists and is the execution's."""
    try:
        job = await ctx.cluster.get_job(record.namespace, name)
        uid = job["metadata"]["uid"] if _is_of(job, record.id) else NOBODY
        if uid != NOBODY and not ctx.dry_run:
            await _sign(ctx, record.namespace, name, uid)
        await ctx.cluster.delete_job(record.namespace, name, uid, dry_run=ctx.dry_run)
    except NotFoundError:
        if name == record.job_name:
            with suppress(NotFoundError):  # deletes nothing, but fails without the permission
                await ctx.cluster.delete_job(record.namespace, name, NOBODY, dry_run=ctx.dry_run)
        return False
    return True


async def _sign(ctx: Context, namespace: str, job: str, uid: str) -> None:
    """Note on a Job that the caller cancels it, if the caller may; the operator puts that into messages.

    The cancellation does not depend on it.
    """
    subject = ctx.caller.subject
    access = Access(verb="delete", group="batch", resource="jobs", namespace=namespace, name=job)
    try:
        if (await ctx.backends.access.review(subject, access)).allowed:
            await ctx.backends.api_server.mark_cancelled(namespace, job, uid, subject.name)
    except CarillonError as error:  # one that is gone included: the deletion finds that out
        log.warning("could not annotate the Job with the cancelling user", namespace=namespace, job=job, why=str(error))


def _as_object(record: ExecutionRecord) -> JSONObject:
    """Return what the audit records of an execution, in the form of an object."""
    spec = {"task": record.task, "slot": record.slot.isoformat(), "jobName": record.job_name}
    return {"metadata": {"namespace": record.namespace, "name": str(record.id)}, "spec": spec}


async def logs(ctx: Context, record: ExecutionRecord, query: LogsQuery) -> str:
    """Return the log of one of an execution's pods as text; bytes that are not UTF-8 are replaced.

    Raises:
        RequestRefusedError: As 404, if the pod no longer exists; as 409, if it has not started.
        ForbiddenError: The caller may not list pods or read their logs there.

    """
    raw = await _pod_of(ctx, record, query.pod)
    pod = raw["metadata"]["name"]
    try:
        said = await ctx.cluster.pod_log(
            record.namespace,
            pod,
            container=_container_of(raw),
            tail_lines=query.tail_lines,
            limit_bytes=query.limit_bytes,
        )
    except NotFoundError:
        raise _logs_gone(f"the pod {pod} and its logs no longer exist") from None
    except RefusedError as error:
        raise wrong_state(f"the pod {pod} has no logs yet: {error}") from error
    return said.decode("utf-8", "replace")


async def _pod_of(ctx: Context, record: ExecutionRecord, wanted: str | None) -> JSONObject:
    if record.job_name is None:
        raise _logs_gone(f"the execution never had a pod: it is {record.status.word}")
    found = await ctx.cluster.list_pods(record.namespace, f"{LABEL_TASK_UID}={record.task_uid}")
    own: dict[str, JSONObject] = {pod["metadata"]["name"]: pod for pod in found if _is_of(pod, record.id)}
    if not own:
        raise _logs_gone(
            "the pods and their logs no longer exist: they are deleted with the Job, by the history limits"
        )
    if wanted is None:
        return own[max(own, key=lambda name: (str(own[name]["metadata"].get("creationTimestamp")), name))]
    if wanted not in own and wanted in {attempt.pod_name for attempt in record.attempts}:
        raise _logs_gone(f"the pod {wanted} and its logs no longer exist: the next attempt has taken its place")
    if wanted not in own:
        raise _logs_gone(f"the execution has no pod {wanted}: its pods are {', '.join(sorted(own))}")
    return own[wanted]


def _container_of(pod: JSONObject) -> str | None:
    """Return the container that runs the task; the cluster may have added others, such as a service mesh's proxy.

    In the pod of a whole Job, it is the one that kubectl would take, by annotation, or else the first.
    """
    names = [container["name"] for container in pod.get("spec", {}).get("containers", ())]
    annotations = pod["metadata"].get("annotations") or {}
    if annotations.get(ANNOTATION_TASK_TYPE) == WHOLE_JOB:
        wanted = annotations.get(DEFAULT_CONTAINER)
        return wanted if wanted in names else next(iter(names), None)
    return next((name for name in (RUNNER_CONTAINER, USER_CONTAINER) if name in names), None)


def _is_of(raw: JSONObject, uid: UUID) -> bool:
    return (raw["metadata"].get("annotations") or {}).get(ANNOTATION_EXECUTION_ID) == str(uid)


def _logs_gone(detail: str) -> RequestRefusedError:
    return RequestRefusedError(Kind.LOGS_GONE, detail)
