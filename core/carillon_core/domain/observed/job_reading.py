"""Turns a Job from the API server and the ends of its pods into an ``ActiveJob`` or a ``FinishedJob``. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from carillon_core.contract import TIMEOUT, Cause, ExitCode
from carillon_core.domain.execution import attempt_number, execution_id, job_name, request_job_name
from carillon_core.domain.observed.jobs import ActiveJob, FinishedJob, JobResult, ObservedJob
from carillon_core.domain.observed.pod_ends import (
    DISRUPTION_TARGET,
    NO_PODS,
    USER_CONTAINER,
    WHOLE_JOB,
    JobPods,
    PodEnd,
)
from carillon_core.domain.observed.pod_trouble import utc_second
from carillon_core.domain.observed.retries import Retries, after, parse_retries
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import RunResult

_TERMINAL = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})
DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Kubernetes' reason for a Job or a pod that ran too long."""
MOST_OF_A_NAME = 256
"""The number of characters kept of a user's name."""
MOST_DIGITS = 10
"""Of a number of pods: the API server takes 32 bits."""
TAKEN_BACK = "suspended by its queue before it finished"
"""The message of an execution whose Job is suspended after it had started; the pod's message follows."""
_RESULT_OF_EXIT: dict[int | None, JobResult] = {
    ExitCode.TIMED_OUT: RunResult.TIMED_OUT,
    ExitCode.CANCELLED: RunResult.CANCELLED,
}


def observed_job(job: Mapping[str, Any], pods: JobPods = NO_PODS, *, deleted: bool = False) -> ObservedJob | None:
    """Return a Job as observed, or None if it is not one of Carillon's.

    A Job counts as Carillon's only if its labels and its name are those that
    its controlling ScheduledTask or RunRequest gives it. The execution's id is
    computed, not read.

    A Job counts as finished when its pods have ended, however early its
    conditions or its deletion time announce it: pods live on in their grace
    period. It does not count as active for longer: its own status lags its pods
    by a second or more. A pod that was lost does not end a Job that may try
    another. A Job that is being deleted ends by what its pods say themselves;
    other ends of deleted Jobs are not judged here. Nor does a failed attempt
    that another may follow end the execution: it waits for its ``retry_at``.

    Args:
        job: The raw object.
        pods: What its pods show.
        deleted: Whether the Job is known to be gone.

    """
    seen = _identity(job["metadata"])
    if seen is None:
        return None
    containers = ((job.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers") or ()
    whole = seen.task_type == WHOLE_JOB
    seen = replace(
        seen,
        container=whole or any(c.get("name") == USER_CONTAINER for c in containers),
        whole=whole,
        ending=deleted or bool(job["metadata"].get("deletionTimestamp")),
        waiting=bool((job.get("spec") or {}).get("suspend")),
        admitted_at=_admitted_at(job),
        # a whole Job may have many pods: it is not given up for one of them
        trouble=None if whole and pods.some_work else pods.trouble,
        earlier_pods=pods.forgotten,
        pod_name=pods.newest_name,
        attempts=tuple(sorted(pods.ends, key=lambda p: (p.finished_at or seen.slot, p.pod_name))),
    )
    outcome = _judged(job, seen, pods)
    if outcome.retries is None or not outcome.retries.earlier:
        return outcome
    earlier = outcome.retries
    attempts = (*earlier.earlier, *outcome.attempts)
    return replace(outcome, attempts=attempts, earlier_pods=earlier.forgotten + outcome.earlier_pods)


def newest_attempts(jobs: Iterable[ObservedJob]) -> list[ObservedJob]:
    """Return the newest Job of each execution: for a moment, there is also that of the attempt before."""
    newest = {job.execution_id: job for job in sorted(jobs, key=lambda job: job.number)}
    return list(newest.values())


def _judged(job: Mapping[str, Any], seen: ActiveJob, pods: JobPods) -> ObservedJob:
    """Return a Job as active or finished, by its own pods and conditions."""
    conditions = {c["type"]: c for c in (job.get("status") or {}).get("conditions") or () if c["status"] == "True"}
    if pods.living or _has_unseen_pods(job, pods, conditions):
        return seen
    succeeded = "SuccessCriteriaMet" in conditions or "Complete" in conditions or _has_succeeded(seen, pods)
    last = decisive_end(seen, succeeded=succeeded)
    if succeeded:
        done = conditions.get("Complete") or conditions.get("SuccessCriteriaMet") or {}
        ended = (last and last.finished_at) or utc_second(done.get("lastTransitionTime"))
        return seen.ended(RunResult.SUCCEEDED, ended, message=last.message if last else "")
    failure = conditions.get("Failed") or conditions.get("FailureTarget")
    if last is not None and (failure is not None or (not seen.whole and _ends_job(job, last, ending=seen.ending))):
        taken_back = seen.waiting and not conditions.keys() & _TERMINAL
        return _unless_retried(seen, _failed_by_pod(seen, last, failure or {}, taken_back=taken_back))
    return seen if failure is None else _unless_retried(seen, _failed_without_pod(seen, failure))


def _unless_retried(seen: ActiveJob, failed: FinishedJob) -> ObservedJob:
    """Return a failed attempt as the end of its execution, or as one that waits for the next attempt.

    A time-out is not retried, nor what its queue has taken back. A Job that is being deleted is cancelled: that another
    attempt could have followed is no reason to call it failed.
    """
    retries = seen.retries
    if retries is None or seen.number > retries.policy.limit or failed.taken_back:
        return failed
    if failed.result is not RunResult.FAILED:
        return failed
    if seen.ending:
        return seen
    ended_at = failed.finished_at or seen.admitted_at or seen.slot
    due = retries.next_at(seen.number, seen.execution_id, ended_at)
    if due >= times_out_at(seen, retries):
        why = f"no time is left for another attempt, which would start at {rfc3339(due)}"
        return replace(failed, message="; ".join(word for word in (failed.message or failed.reason, why) if word))
    ends = seen.attempts or (
        PodEnd(succeeded=False, finished_at=ended_at, reason=failed.reason, message=failed.message),
    )
    return replace(seen, attempts=ends, trouble=None, retry_at=due)


def times_out_at(job: ObservedJob, retries: Retries) -> datetime:
    """Return when a Job's execution has used up its ``timeoutSeconds``."""
    return after(execution_began(job), timedelta(seconds=retries.timeout_seconds))


def execution_began(job: ObservedJob) -> datetime:
    """Return when the first attempt of a Job's execution began; until its pod has started, since when it may."""
    if job.retries is not None and job.retries.begun_at is not None:
        return job.retries.begun_at
    starts = [pod.started_at for pod in job.attempts if pod.started_at is not None]
    return min(starts, default=job.admitted_at or job.slot)


def _has_unseen_pods(job: Mapping[str, Any], pods: JobPods, conditions: Mapping[str, Any]) -> bool:
    """Return whether a Job whose end is only announced has pods that no watch has shown."""
    if pods.seen or conditions.keys() & {"Complete", "Failed"} or not conditions.keys() & _TERMINAL:
        return False
    status = job.get("status") or {}
    return bool(status.get("active") or status.get("terminating"))


def _has_succeeded(seen: ActiveJob, pods: JobPods) -> bool:
    """Return whether the pods of a Job show that it has succeeded, before its own conditions do.

    A whole Job has conditions of its own for that, unless it is deleted: then it has succeeded if as many pods have as
    it needs.
    """
    succeeded = pods.forgotten_successes + sum(pod.succeeded for pod in seen.attempts)
    return succeeded >= seen.completions and (seen.ending or not seen.whole)


def decisive_end(seen: ObservedJob, *, succeeded: bool) -> PodEnd | None:
    """Return the end of the pod that speaks for a Job: one that succeeded, else the last that had the execution.

    Args:
        seen: The Job.
        succeeded: Whether it has succeeded. Pods of a whole Job may have ended in another way than the Job.

    """
    if seen.whole:
        alike = [pod for pod in seen.attempts if pod.succeeded is succeeded]
        return alike[-1] if alike else None
    first = next((pod for pod in seen.attempts if pod.succeeded), None)
    if first is not None or not seen.attempts:
        return first
    own = [pod for pod in seen.attempts if seen.container or pod.exit_code != ExitCode.ALREADY_CLAIMED]
    return (own or seen.attempts)[-1]


def _failed_by_pod(seen: ActiveJob, pod: PodEnd, failure: Mapping[str, Any], *, taken_back: bool) -> FinishedJob:
    """Return a Job that a pod's failure ended."""
    result: JobResult = RunResult.FAILED
    limited = seen.retries is not None and seen.retries.limited  # to a part of the time: it has only failed
    if failure.get("reason") == DEADLINE_EXCEEDED or (pod.reason == DEADLINE_EXCEEDED and not limited):
        result = RunResult.TIMED_OUT
    elif not seen.container:
        result = _RESULT_OF_EXIT.get(pod.exit_code, RunResult.FAILED)
    at = pod.finished_at or utc_second(failure.get("lastTransitionTime"))
    message = f"{TAKEN_BACK}: {pod.message or pod.reason}" if taken_back else pod.message
    ran_too_long = result is RunResult.TIMED_OUT or pod.reason == DEADLINE_EXCEEDED
    return seen.ended(result, at, TIMEOUT if ran_too_long else pod.reason, message, taken_back=taken_back)


def _failed_without_pod(seen: ActiveJob, failure: Mapping[str, Any]) -> FinishedJob:
    """Return a Job that failed before any of its pods ended."""
    reason = failure.get("reason") or ""
    # why it never started
    words = [failure.get("message") or "", seen.hindrance]
    return seen.ended(
        RunResult.TIMED_OUT if reason == DEADLINE_EXCEEDED else RunResult.FAILED,
        utc_second(failure.get("lastTransitionTime")),
        TIMEOUT if reason == DEADLINE_EXCEEDED else reason,
        ": ".join(word for word in words if word),
    )


def still_taken_back(before: ObservedJob, after: ObservedJob) -> ObservedJob:
    """Return the newer view of a Job, but still finished if its queue had suspended it after it started.

    The queue may admit it again before it is deleted; it is deleted nevertheless.
    """
    if not isinstance(before, FinishedJob) or not before.taken_back:
        return after
    return after.ended(before.result, before.finished_at, before.reason, before.message, taken_back=True)


def _admitted_at(job: Mapping[str, Any]) -> datetime | None:
    """Return since when a Job may have pods; the Job controller sets ``startTime`` again when a queue admits it."""
    times = (job["metadata"].get("creationTimestamp"), (job.get("status") or {}).get("startTime"))
    return max((t for t in map(utc_second, times) if t is not None), default=None)


def _ends_job(job: Mapping[str, Any], pod: PodEnd, *, ending: bool) -> bool:
    """Return whether a failed pod is the last of its Job: by its exit code, or because no other may follow."""
    spec = job.get("spec") or {}
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        if rule.get("action") == "FailJob" and pod.exit_code in (rule.get("onExitCodes") or {}).get("values", ()):
            return True
        if rule.get("action") == "Ignore" and pod.disrupted and _is_about_disruption(rule):
            return False
    return not spec.get("backoffLimit") and not ending


def _is_about_disruption(rule: Mapping[str, Any]) -> bool:
    return any(pattern.get("type") == DISRUPTION_TARGET for pattern in rule.get("onPodConditions") or ())


def job_of_pod(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the Job of a pod as it must have been, for a Job that is gone; None if the pod has no Job.

    Its pods have the Job's labels and annotations.
    """
    meta = pod["metadata"]
    owner = owning_job(pod)
    labels = meta.get("labels") or {}
    if owner is None:
        return None
    manual = labels.get(names.LABEL_REQUEST_UID)
    parent = {
        "kind": names.KIND_REQUEST if manual else names.KIND,
        "name": labels.get(names.LABEL_REQUEST if manual else names.LABEL_TASK),
        "uid": manual or labels.get(names.LABEL_TASK_UID),
        "controller": True,
    }
    containers = (pod.get("spec") or {}).get("containers") or ()
    return {
        "metadata": {
            "name": owner["name"],
            "namespace": meta["namespace"],
            "uid": owner["uid"],
            "labels": labels,
            "annotations": meta.get("annotations") or {},
            "ownerReferences": [parent],
        },
        "spec": {"template": {"spec": {"containers": [{"name": c.get("name")} for c in containers]}}},
    }


def owning_job(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the name and the uid of a pod's Job, or None if it has none.

    A pod that was orphaned with ``kubectl delete job --cascade=orphan`` has the
    Job controller's labels still.
    """
    meta = pod["metadata"]
    controller = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    if controller is not None:
        return controller if controller["kind"] == "Job" else None
    name, uid = ((meta.get("labels") or {}).get(f"batch.kubernetes.io/{key}") for key in ("job-name", "controller-uid"))
    return {"name": name, "uid": uid} if name and uid else None


def _identity(meta: Mapping[str, Any]) -> ActiveJob | None:
    """Return the Job as active, or None if it does not belong to a task or a request."""
    labels = meta.get("labels") or {}
    slot = utc_second((meta.get("annotations") or {}).get(names.ANNOTATION_SLOT))
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    task_uid = str(labels.get(names.LABEL_TASK_UID))
    if owner is None or slot is None:
        return None
    try:
        if owner.get("kind") == names.KIND:
            cause, origin = Cause.SCHEDULE, task_uid
            wanted = (labels.get(names.LABEL_TASK), task_uid)
            first = job_name(str(owner.get("name")), slot)
        elif owner.get("kind") == names.KIND_REQUEST:
            cause, origin = Cause.MANUAL, str(labels.get(names.LABEL_REQUEST_UID))
            wanted = (labels.get(names.LABEL_REQUEST), origin)
            first = request_job_name(str(owner.get("name")), origin)
        else:
            return None
        number = attempt_number(meta["name"], first, slot, cause)
        if (owner.get("name"), owner.get("uid")) != wanted or number is None:
            return None
        uid = execution_id(origin, slot, cause)
    except ValueError:  # not a uid
        return None
    return ActiveJob(
        name=meta["name"],
        uid=meta["uid"],
        task_uid=task_uid,
        slot=slot,
        execution_id=str(uid),
        cause=cause,
        origin=origin,
        namespace=meta.get("namespace", ""),
        task_name=str(labels.get(names.LABEL_TASK, "")),
        task_type=str((meta.get("annotations") or {}).get(names.ANNOTATION_TASK_TYPE, "unknown")),
        retry_of=_uuid((meta.get("annotations") or {}).get(names.ANNOTATION_RETRY_OF)),
        completions=_completions((meta.get("annotations") or {}).get(names.ANNOTATION_COMPLETIONS)),
        first_name=first,
        number=number,
        retries=parse_retries((meta.get("annotations") or {}).get(names.ANNOTATION_RETRIES)),
        cancelled_by=str((meta.get("annotations") or {}).get(names.ANNOTATION_CANCELLED_BY, ""))[:MOST_OF_A_NAME],
    )


def _completions(text: str | None) -> int:
    """Return the number in an annotation, which anyone who may write Jobs can change; 1 if it is none."""
    good = text is not None and len(text) <= MOST_DIGITS and text.isascii() and text.isdecimal()
    return max(1, int(text)) if good and text is not None else 1


def _uuid(text: str | None) -> UUID | None:
    """Return the text as an id, or None if it is not one: it is only a link."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
