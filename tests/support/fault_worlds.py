"""Worlds for the oracle of ``make faults``: right ones, to which a test adds one error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from carillon_core.contract import Cause
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.resources.scheduled_task import parse_spec
from faults.verdict.oracle import violations
from faults.verdict.seen import JobSeen, RowSeen, TaskSeen, World

UID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """Return a time of the plan."""
    return BEGAN + timedelta(seconds=seconds)


class WorldBuilder:
    """A task every two seconds up to the sixth, whose slots all ran; then one error is added."""

    def __init__(self, task: dict[str, Any] | None = None, **spec: Any) -> None:
        whole = {"intervalSeconds": 2, "task": task or {"http": {"url": "http://target/hit"}}, **spec}
        self.task = TaskSeen("api", UID, BEGAN, parse_spec(whole, strict=True))
        self.jobs: list[JobSeen] = []
        self.rows: list[RowSeen] = []
        self.hits: dict[str, list[datetime]] = {}
        self.more: dict[str, Any] = {}
        for seconds in (2, 4, 6):
            self.ran(seconds)

    def id(self, seconds: float) -> str:
        return str(execution_id(UID, after(seconds), Cause.SCHEDULE))

    def ran(self, seconds: float, *, for_seconds: float = 0.5) -> Self:
        slot, end = after(seconds), after(seconds + for_seconds)
        name = job_name("api", slot)
        self.jobs.append(JobSeen(name, f"uid-{seconds}", "api", UID, slot, after(seconds + 0.1), end))
        self.rows.append(RowSeen(self.id(seconds), "api", slot, None, "succeeded", None, after(seconds + 0.2), end))
        self.hits[self.id(seconds)] = [after(seconds + 0.3)]
        return self

    def without(self, seconds: float, *, row: bool = True, job: bool = True, hit: bool = True) -> Self:
        if row:
            self.rows = [r for r in self.rows if r.slot != after(seconds)]
        if job:
            self.jobs = [j for j in self.jobs if j.slot != after(seconds)]
        if hit:
            self.hits.pop(self.id(seconds), None)
        return self

    def row(
        self, seconds: float, status: str, reason: str | None = None, *, first: float | None = None, at: float = 0
    ) -> Self:
        """Add a row that was decided ``at`` seconds after its slot."""
        when = after(seconds + at)
        first_slot = None if first is None else after(first)
        end = None if status == "running" else when
        self.rows.append(RowSeen(self.id(seconds), "api", after(seconds), first_slot, status, reason, when, end))
        return self

    def having(self, **more: Any) -> Self:
        self.more |= more
        return self

    def world(self) -> World:
        return World([self.task], after(6), self.jobs, self.rows, self.hits, **self.more)

    def violations(self) -> list[str]:
        return [str(violation) for violation in violations(self.world())]
