"""Executions whose pod cannot start: ended after a while, with Kubernetes' own reason. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.observed import ObservedJob
from carillon_core.domain.plan import EndExecution

PATIENCE = timedelta(seconds=45)
"""How long an image may be missing, or a Secret, counted from the pod's creation: others may be about to bring it."""


def stuck_executions(own: Sequence[ObservedJob], now: datetime) -> tuple[list[EndExecution], datetime | None]:
    """Return the executions to give up, and when to look at the next one, if one has trouble."""
    ends: list[EndExecution] = []
    later: datetime | None = None
    for job in own:
        if job.trouble is None or not job.active or job.ending:
            continue
        give_up_at = job.trouble.since + PATIENCE
        if give_up_at > now:
            later = give_up_at if later is None else min(later, give_up_at)
            continue
        message = f"the pod of {job.name} cannot start: {job.trouble.reason}: {job.trouble.message}"[:1024]
        ends.append(
            EndExecution(job.name, job.uid, UUID(job.execution_id), ExecutionStatus.FAILED, job.trouble.reason, message)
        )
    return ends, later
