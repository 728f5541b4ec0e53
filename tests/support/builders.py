"""Builders, with which a test sets only the relevant values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from carillon_core import contract
from carillon_core.contract import Cause
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.decide_request import decide_request
from carillon_core.domain.decision.plan import Action, DeleteJob, EndExecution, Launch, Plan, RequestPlan
from carillon_core.domain.execution import execution_id, job_name, request_job_name
from carillon_core.domain.observed.jobs import (
    ActiveJob,
    FinishedJob,
    ObservedJob,
    ObservedRequest,
    ObservedTarget,
    ObservedTask,
)
from carillon_core.resources import RunResult, ScheduledTaskStatus
from carillon_core.resources.run_request import RunRequestStatus

TASK_UID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
REQUEST_UID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = "backup-1767225630"
"""The Job of the slot at 2026-01-01T00:00:30Z."""
POD_OF_FIRST = {"name": "p", "namespace": "default", "uid": "p", "creationTimestamp": "2026-01-01T00:00:31Z"}
"""The metadata of that Job's pod."""
RUNNER_ENV = {
    contract.ENV_DATABASE_URL: "postgresql+psycopg://carillon:hunter2@db:5432/carillon",
    contract.ENV_EXECUTION_TOKEN: "hunter2",
    contract.ENV_EXECUTION_ID: "0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d",
    contract.ENV_TASK_UID: TASK_UID,
    contract.ENV_TASK_NAMESPACE: "shop",
    contract.ENV_TASK_NAME: "report",
    contract.ENV_SLOT: "2026-01-01T00:05:00Z",
    contract.ENV_CAUSE: "schedule",
    contract.ENV_TASK: '{"sum": {"a": 1, "b": 2}}',
    contract.ENV_TIMEOUT_SECONDS: "60",
    contract.ENV_JOB_NAME: "report-1767225900",
    contract.ENV_POD_NAME: "report-1767225900-x7k2p",
}
"""A complete and valid environment of a runner."""


def at(text: str) -> datetime:
    """Return a time of 2026-01-01 UTC (``12:30`` or ``12:30:05``), or parse a full RFC 3339 time."""
    if "T" in text:
        return datetime.fromisoformat(text)
    return datetime.fromisoformat(f"2026-01-01T{text}+00:00")


class TaskBuilder:
    """``make_task("x").every(30).suspended().observed()``."""

    def __init__(self, name: str) -> None:
        self.raw: dict[str, Any] = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": TASK_UID,
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"task": {"sum": {"a": 1, "b": 2}}},
        }
        self.status = ScheduledTaskStatus()
        self.target: ObservedTarget | None = None

    def cron(self, expression: str, zone: str | None = None) -> Self:
        self.raw["spec"]["schedule"] = expression
        if zone:
            self.raw["spec"]["timeZone"] = zone
        return self

    def every(self, seconds: int) -> Self:
        self.raw["spec"]["intervalSeconds"] = seconds
        return self

    def once(self, when: str) -> Self:
        self.raw["spec"]["runAt"] = at(when).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self

    def suspended(self, *, yes: bool = True) -> Self:
        self.raw["spec"]["suspend"] = yes
        return self

    def with_spec(self, **fields: Any) -> Self:
        self.raw["spec"].update(fields)
        return self

    def with_meta(self, **fields: Any) -> Self:
        self.raw["metadata"].update(fields)
        return self

    def without(self, *fields: str) -> Self:
        for field in fields:
            del self.raw["spec"][field]
        return self

    def edited(self, **fields: Any) -> Self:
        """Change the spec, as a user does: its generation increases."""
        self.raw["metadata"]["generation"] += 1
        return self.with_spec(**fields)

    def calling(self, name: str = "shop", target: dict[str, Any] | None = None) -> Self:
        """Make it an HTTP task of a target, which exists if its spec is given."""
        self.target = make_target(name, target) if target is not None else None
        return self.with_spec(task={"http": {"targetRef": {"name": name}}})

    def observed(
        self, status: ScheduledTaskStatus | None = None, stored: ScheduledTaskStatus | None = None
    ) -> ObservedTask:
        now = status or self.status
        return replace(ObservedTask.from_object(self.raw), status=now, stored=stored or now, target=self.target)


def make_task(name: str = "backup") -> TaskBuilder:
    """Start building a task."""
    return TaskBuilder(name)


def make_target(name: str, spec: dict[str, Any]) -> ObservedTarget:
    """Return an HTTPTarget, valid or not."""
    return ObservedTarget.from_object({"metadata": {"name": name}, "spec": spec})


def make_job(
    slot: str | datetime,
    *,
    task: str = "backup",
    uid: str = TASK_UID,
    result: RunResult = RunResult.RUNNING,
    **more: Any,
) -> ObservedJob:
    """Return the Job of a slot; it is active unless a result is given."""
    when = at(slot) if isinstance(slot, str) else slot
    job: ObservedJob = ActiveJob(
        name=job_name(task, when),
        uid=f"job-{when.isoformat()}",
        task_uid=uid,
        slot=when,
        execution_id=str(execution_id(uid, when, Cause.SCHEDULE)),
        origin=uid,
        namespace="default",
        task_name=task,
    )
    if result is not RunResult.RUNNING:
        job = ended(job, result, when + timedelta(seconds=5))
    return replace(job, **more)


def ended(job: ObservedJob, result: RunResult, when: datetime) -> FinishedJob:
    """Return the ended Job."""
    assert result is not RunResult.RUNNING
    assert result is not RunResult.UNKNOWN
    return job.ended(result, when)


def taken_back(job: ObservedJob) -> FinishedJob:
    """Return a Job that ended because its queue suspended it."""
    assert isinstance(job, FinishedJob)
    return replace(job, taken_back=True)


def make_manual_job(slot: str, *, result: RunResult = RunResult.RUNNING, **more: Any) -> ObservedJob:
    """Return the Job of the request that ``make_request`` builds."""
    own = {
        "name": request_job_name("now", REQUEST_UID),
        "execution_id": str(execution_id(REQUEST_UID, at(slot), Cause.MANUAL)),
        "cause": Cause.MANUAL,
        "origin": REQUEST_UID,
    }
    return make_job(slot, result=result, **{**own, **more})


class RequestBuilder:
    """``make_request(taskRef={"name": "backup"})``: a RunRequest of 00:10."""

    def __init__(self, **spec: Any) -> None:
        self.raw: dict[str, Any] = {
            "metadata": {
                "name": "now",
                "namespace": "default",
                "uid": REQUEST_UID,
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:10:00Z",
            },
            "spec": spec,
        }
        self.status = RunRequestStatus()
        self.target: ObservedTarget | None = None

    def observed(
        self, status: RunRequestStatus | None = None, stored: RunRequestStatus | None = None
    ) -> ObservedRequest:
        now = status or self.status
        return replace(ObservedRequest.from_object(self.raw), status=now, stored=stored or now, target=self.target)


def make_request(**spec: Any) -> RequestBuilder:
    """Start building a request, of the task ``backup`` by default."""
    return RequestBuilder(**(spec if "task" in spec or "taskRef" in spec else {"taskRef": {"name": "backup"}, **spec}))


def carried_out(actions: tuple[Action, ...], jobs: list[ObservedJob]) -> list[ObservedJob]:
    """Return the Jobs after a plan's launches, ends and deletions."""
    ended = {a.job_uid for a in actions if isinstance(a, EndExecution)}
    deleted = {a.job_uid for a in actions if isinstance(a, DeleteJob)}
    left = [replace(job, ending=job.ending or job.uid in ended) for job in jobs if job.uid not in deleted]
    return [*left, *(make_job(a.slot) for a in actions if isinstance(a, Launch) and a.cause is Cause.SCHEDULE)]


def decide_to_fixed_point(builder: TaskBuilder, jobs: list[ObservedJob], now: datetime) -> Plan:
    """Decide, carry out, and assert that deciding again yields nothing new; return the first plan."""
    plan = decide(builder.observed(), jobs, now)
    after = carried_out(plan.actions, jobs)
    second = decide(builder.observed(plan.status, builder.status), after, now)
    assert second.actions == (), "the second decision acts again"
    assert second.notices == (), "the second decision speaks again"
    third = decide(builder.observed(second.status, builder.status), after, now)
    assert third.status == second.status, "the status does not settle"
    assert third.requeue_at == plan.requeue_at
    builder.status = second.status
    return plan


def request_to_fixed_point(
    builder: RequestBuilder, task: TaskBuilder | None, jobs: list[ObservedJob], when: str
) -> RequestPlan:
    """Decide about a request, carry out, and assert that deciding again yields nothing; return the plan."""
    now, observed = at(when), task.observed() if task else None
    plan = decide_request(builder.observed(), observed, jobs, now)
    after = carried_out(plan.actions, jobs)
    if any(isinstance(a, Launch) for a in plan.actions):
        slot = f"{builder.observed().slot:%H:%M:%S}"
        after.append(make_manual_job(slot, task_uid=task.observed().meta.uid if task else REQUEST_UID))
    second = decide_request(builder.observed(plan.status, builder.status), observed, after, now)
    assert (second.actions, second.notices) == ((), ()), "the second decision acts or speaks again"
    third = decide_request(builder.observed(second.status, builder.status), observed, after, now)
    assert third.status == second.status, "the status does not settle"
    builder.status = second.status
    return plan


class Story:
    """A task and its Jobs over time: each turn decides, up to the fixed point, and carries out."""

    def __init__(self, task: TaskBuilder) -> None:
        self.task = task
        self.jobs: list[ObservedJob] = []

    def turn(self, when: str) -> Plan:
        plan = decide_to_fixed_point(self.task, self.jobs, at(when))
        self.jobs = carried_out(plan.actions, self.jobs)
        return plan

    def ends(self, slot: str, result: RunResult, when: str) -> None:
        """Let the Job of a slot end."""
        self.jobs = [ended(job, result, at(when)) if job.slot == at(slot) else job for job in self.jobs]

    def gone(self, slot: str) -> None:
        """Remove the Job of a slot."""
        self.jobs = [job for job in self.jobs if job.slot != at(slot)]

    def run(self, slot: str, result: RunResult) -> Plan:
        """Launch a slot at its time, and let it end five seconds later."""
        plan = self.turn(slot)
        self.ends(slot, result, f"{at(slot) + timedelta(seconds=5):%H:%M:%S}")
        return plan
