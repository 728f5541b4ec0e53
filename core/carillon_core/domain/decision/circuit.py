"""The circuit breaker, which opens after too many failures in a row. Pure; ``decide`` calls it.

While it is closed, every slot may be launched. While it is open, no slot is
launched until ``cooldownSeconds`` have passed. Then one slot is launched as a
trial: its success closes the circuit, its failure restarts the cooldown. A
change of the spec and the success of a requested run also close the circuit.
"""

from collections.abc import Sequence
from datetime import datetime

from carillon_core.contract import Cause
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.scheduled_task import RunResult, ScheduledTaskSpec, ScheduledTaskStatus

FAILURES = frozenset({RunResult.FAILED, RunResult.TIMED_OUT})


def with_results(
    status: ScheduledTaskStatus, meta: ObjectMeta, spec: ScheduledTaskSpec, own: Sequence[ObservedJob]
) -> ScheduledTaskStatus:
    """Return the status with the results of the task's Jobs counted, each once.

    Args:
        status: The status before; its ``observedGeneration`` is that of the last decision.
        meta: The task's metadata.
        spec: The task's spec.
        own: The task's Jobs, including those of requests.

    """
    failures, opened, trial = status.consecutive_failures, status.circuit_opened_at, status.trial_slot
    until = status.counted_until
    if status.observed_generation is not None and status.observed_generation != meta.generation:
        failures, opened, trial = 0, None, None
    ended = sorted((_ended_at(job), job.name, job) for job in own if not job.active)
    scheduled = {job.slot for job in own if job.cause is Cause.SCHEDULE}
    if trial not in scheduled:
        trial = None  # its Job is gone and its result is unknown: the next slot is the trial
    for at, _, job in ended:
        on_trial = trial is not None and job.slot == trial and job.cause is Cause.SCHEDULE
        # a trial is always counted: slots wait for it
        if status.counted_until is not None and at <= status.counted_until and not on_trial:
            continue
        until = at if until is None else max(until, at)
        if job.result is RunResult.SUCCEEDED:
            failures, opened, trial = 0, None, None
        elif job.result in FAILURES:
            failures += 1
            limit = spec.suspend_after_failures
            if limit is not None and failures >= limit and (opened is None or on_trial):
                opened = at
        if on_trial:
            trial = None
    update = {
        "consecutive_failures": failures,
        "circuit_opened_at": opened,
        "trial_slot": trial,
        "counted_until": until,
    }
    return status.model_copy(update=update)


def _ended_at(job: ObservedJob) -> datetime:
    return job.finished_at or job.slot
