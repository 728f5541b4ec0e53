"""Builders: a test says only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from carillon_core.contract import Cause
from carillon_core.domain.decide import decide
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.domain.observed import JobPhase, ObservedJob, ObservedTask
from carillon_core.domain.plan import Launch, Plan
from carillon_core.resources import RunResult, ScheduledTaskStatus

TASK_UID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """Return a time of 2026-01-01 UTC (``12:30`` or ``12:30:05``), or a whole RFC 3339 one."""
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

    def observed(self, status: ScheduledTaskStatus | None = None) -> ObservedTask:
        return replace(ObservedTask.from_object(self.raw), status=status or self.status, stored=status or self.status)


def make_task(name: str = "backup") -> TaskBuilder:
    """Begin a task."""
    return TaskBuilder(name)


def make_job(
    slot: str | datetime, *, task: str = "backup", uid: str = TASK_UID, result: RunResult = RunResult.RUNNING
) -> ObservedJob:
    """Return the Job of a slot: active, unless it has another result."""
    when = at(slot) if isinstance(slot, str) else slot
    done = result is not RunResult.RUNNING
    return ObservedJob(
        name=job_name(task, when),
        uid=f"job-{when.isoformat()}",
        task_uid=uid,
        slot=when,
        execution_id=str(execution_id(uid, when, Cause.SCHEDULE)),
        phase=JobPhase.FINISHED if done else JobPhase.ACTIVE,
        result=result,
        finished_at=when + timedelta(seconds=5) if done else None,
    )


def carried_out(plan: Plan, jobs: list[ObservedJob]) -> list[ObservedJob]:
    """Return the Jobs after the plan's launches."""
    return [*jobs, *(make_job(a.slot) for a in plan.actions if isinstance(a, Launch))]


def decide_to_fixed_point(builder: TaskBuilder, jobs: list[ObservedJob], now: datetime) -> Plan:
    """Decide, carry out, and assert that the same input again yields nothing new; return the first plan."""
    plan = decide(builder.observed(), jobs, now)
    after = carried_out(plan, jobs)
    second = decide(builder.observed(plan.status), after, now)
    assert second.actions == (), "the second decision acts again"
    assert second.notices == (), "the second decision speaks again"
    third = decide(builder.observed(second.status), after, now)
    assert third.status == second.status, "the status does not settle"
    assert third.requeue_at == plan.requeue_at
    builder.status = second.status
    return plan
