"""How the operator ended Jobs that still exist, so that their tasks' statuses and their rows say why."""

from dataclasses import replace
from datetime import datetime

from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.records import result_of_deleted
from carillon_core.domain.observed.jobs import FinishedJob, ObservedJob


class DecidedEnds:
    """The ends that the operator decided on, by the namespace and the uid of the Job."""

    def __init__(self) -> None:
        """Start empty."""
        self._ends: dict[tuple[str, str], tuple[EndExecution, datetime]] = {}

    def put(self, namespace: str, end: EndExecution, now: datetime) -> None:
        """Remember why the operator deletes a Job."""
        # in whole seconds, as a status keeps it; otherwise the status would be written again and again
        self._ends.setdefault((namespace, end.job_uid), (end, now.replace(microsecond=0)))

    def has(self, job: ObservedJob) -> bool:
        """Return whether the operator decided to end a Job."""
        return (job.namespace, job.uid) in self._ends

    def forget(self, namespace: str, job_uid: str) -> None:
        """Forget a Job that is gone."""
        self._ends.pop((namespace, job_uid), None)

    def ended(self, job: ObservedJob) -> FinishedJob:
        """Return how the execution of a Job that was deleted while it was active ended."""
        end, at = self._ends.get((job.namespace, job.uid), (None, None))
        pods = [pod.finished_at for pod in job.attempts if pod.finished_at is not None]
        result, reason, message = result_of_deleted(end, job.cancelled_by)
        return replace(job.ended(result, max(pods, default=at), reason, message), ending=True)
