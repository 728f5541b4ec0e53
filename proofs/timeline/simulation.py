"""Simulates one task for a year: a cluster that runs its Jobs, and an operator that fails and restarts.

Nothing sleeps: time jumps from one event to the next. The operator calls the
real ``decide`` and writes in the order of the reconciler: the Job, the status,
the history. Only the state in the API server survives a restart.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide import after_refusal, decide
from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Plan, Reason, RecordUnlaunched
from carillon_core.domain.decision.unrecorded import unrecorded_id, with_unrecorded, without_recorded
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.domain.observed.jobs import ActiveJob, JobResult, ObservedJob, ObservedTask
from carillon_core.resources import RunResult, ScheduledTaskStatus
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import Backlog, Calendar, UnrecordedSlot, parse_status
from timeline.tasks import Script
from timeline.weather import Weather

Decide = Callable[..., Plan]
SECOND = timedelta(seconds=1)
STATUS_LAG = SECOND
MANY_JOBS = 6
ENDS = (RunResult.SUCCEEDED,) * 8 + (RunResult.FAILED, RunResult.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class Sight:
    """A calendar or suspension when an operator first saw it, and survived to write the status."""

    at: datetime
    """On the operator's clock: slots count from here."""
    calendar: Calendar | None
    """None if there has never been one."""
    blocked: bool
    """Whether launches are not allowed: suspended or invalid."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the history for slots that were not launched."""

    first: datetime
    last: datetime
    reason: str
    exact: bool
    """Whether ``decide`` recorded exactly this; otherwise several records were merged while the database was down."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A Job that was created."""

    slot: datetime
    at: datetime
    """On the operator's clock."""
    again: bool
    """Whether the slot had a Job before, which was deleted."""
    max_runs: int | None


@dataclass(slots=True)
class _Job:
    slot: datetime
    uid: str
    ends_at: datetime
    """When its pods end, in true time."""
    seen_at: datetime
    """When the operator sees that."""
    result: RunResult
    ending: bool = False
    view: ObservedJob | None = None
    """As last observed."""


@dataclass(slots=True)
class Trace:
    """The input of the oracle, and the lines that explain its findings."""

    script: Script
    sights: tuple[Sight, ...] = ()
    launches: list[Launched] = field(default_factory=list)
    rows: dict[UUID, Row] = field(default_factory=dict)
    grey: list[tuple[datetime, datetime]] = field(default_factory=list)
    """The times, on the operator's clock, in which sights were lost with an operator."""
    overlaps: list[datetime] = field(default_factory=list)
    """When a Job was created while another was active, although overlap is forbidden."""
    unrecorded: int = 0
    """The number of unrecorded entries in the status at the end."""
    owed: Backlog | None = None
    """The slots that missedRunPolicy All still has to catch up at the end."""
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


class Simulation:
    """A task, its Jobs and its operator."""

    def __init__(self, script: Script, weather: Weather, rng: Random, decides: Decide = decide) -> None:
        """Begin at the task's creation."""
        self._script, self._weather, self._rng, self._decide = script, weather, rng, decides
        self._raw: dict[str, Any] = {
            "metadata": {
                "name": script.name,
                "namespace": "default",
                "uid": script.uid,
                "generation": 1,
                "creationTimestamp": rfc3339(script.created_at),
            },
            "spec": dict(script.spec),
        }
        self._task = ObservedTask.from_object(self._raw)
        self._stored = ScheduledTaskStatus()
        self._stored_sights: tuple[Sight, ...] = ()
        self._status: ScheduledTaskStatus | None = None
        self._sights: tuple[Sight, ...] = ()
        self._write_at: datetime | None = None
        self._wake: datetime | None = None
        self._look_at: datetime | None = None
        self._outbox: dict[UUID, UnrecordedSlot] = {}
        self._written: set[UUID] = set()
        self._emitted: set[tuple[datetime, datetime]] = set()
        self._jobs: dict[str, _Job] = {}
        self._created: set[datetime] = set()
        self._lost_since: datetime | None = None
        self._heap: list[tuple[datetime, int, str]] = []
        self._number = 0
        self._changes = iter(script.changes)
        self.trace = Trace(script)

    def run(self) -> Trace:
        """Run the simulation and return the trace."""
        begin = self._script.created_at
        for outage in self._weather.operator:
            if outage.until > begin:
                self._at(max(begin, outage.since), "kill" if outage.killed else "stop")
                self._at(outage.until, "start")
        for when, _ in self._weather.steps:
            if when > begin:
                self._at(when, "step")
        for change in self._script.changes:
            self._at(max(begin, change.at), "change")
        down = any(o.since <= begin < o.until for o in self._weather.operator)
        if not down:
            self._at(begin, "start")
        while self._heap and self._heap[0][0] <= self._weather.end:
            now, _, what = heapq.heappop(self._heap)
            self._happen(what, now)
        self.trace.sights = self._stored_sights
        self.trace.unrecorded = len(self._stored.unrecorded)
        self.trace.owed = self._stored.backlog
        return self.trace

    def _happen(self, what: str, now: datetime) -> None:
        """Handle one event; ignore a wake-up that was replaced."""
        if what == "change":
            self._edit(next(self._changes).fields, now)
        elif what == "start":
            self._start(now)
        elif what in {"kill", "stop"}:
            if what == "stop":
                self._write(now)
            self._die(now)
        elif what == "flush":
            self._flush(now)
        elif what == "write" and self._write_at == now:
            self._write(now)
            self._turn_if_asked(now)
        elif what == "step" or (what == "wake" and self._wake == now):
            self._turn(now)
        elif what == "look" and self._look_at is not None and self._look_at <= now:
            self._look_at = None
            if self._matters():
                self._turn(now)

    def _matters(self) -> bool:
        """Return whether the end of a Job can change decisions before the next slot; if not, the next turn sees it."""
        owed = self._status is not None and self._status.backlog is not None
        replaced = any(job.ending for job in self._jobs.values())
        return owed or replaced or len(self._jobs) > MANY_JOBS or "suspendAfterFailures" in self._raw["spec"]

    def _at(self, when: datetime, what: str) -> None:
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, what))

    def _say(self, now: datetime, text: str) -> None:
        self.trace.lines.append(f"{rfc3339(now)} {text}")

    # users, and the start and end of the operator

    def _edit(self, fields: dict[str, Any], now: datetime) -> None:
        spec = {**self._raw["spec"], **fields}
        meta = {**self._raw["metadata"], "generation": self._raw["metadata"]["generation"] + 1}
        self._raw = {"metadata": meta, "spec": {k: v for k, v in spec.items() if v is not None}}
        self._task = ObservedTask.from_object(self._raw)
        self.trace.counts["edits"] += 1
        self._say(now, f"user: {fields}")
        if self._status is not None:
            self._turn(now)

    def _start(self, now: datetime) -> None:
        if self._status is not None:
            return
        self.trace.counts["restarts"] += 1
        self._say(now, "operator starts")
        self._status = parse_status(self._stored.model_dump(mode="json"))
        self._sights = self._stored_sights
        self._turn(now)

    def _die(self, now: datetime) -> None:
        if self._status is None:
            return
        self._say(now, "operator ends")
        if len(self._sights) > len(self._stored_sights) and self._lost_since is None:
            self._lost_since = self._sights[len(self._stored_sights)].at
        self._status, self._write_at, self._wake, self._look_at = None, None, None, None
        self._outbox.clear()
        self._written.clear()
        for name, job in list(self._jobs.items()):
            if job.result is RunResult.UNKNOWN and job.ends_at <= now:
                del self._jobs[name]  # deleted while it ran: only the old operator knew it

    def _write(self, now: datetime) -> None:
        if self._status is None or self._write_at is None:
            return
        if self._rng.random() < 0.005:
            self._write_at = now + 2 * SECOND
            self._at(self._write_at, "write")
            return
        self._write_at = None
        self._stored, self._stored_sights = self._status, self._sights
        self.trace.counts["status writes"] += 1

    def _turn_if_asked(self, now: datetime) -> None:
        """Take a turn after a status was written if it can change decisions; otherwise it is a fixed point."""
        if self._stored.unrecorded or len(self._jobs) > MANY_JOBS:
            self._turn(now)

    def _flush(self, now: datetime) -> None:
        if self._status is None or not self._outbox:
            return
        back = self._weather.database_back(now)
        if back > now:
            self._at(back, "flush")
            return
        for uid, entry in self._outbox.items():
            first = entry.first_slot or entry.slot
            row = Row(first, entry.slot, entry.reason, (first, entry.slot) in self._emitted)
            self.trace.rows.setdefault(uid, row)
            self._written.add(uid)
        self._outbox.clear()
        self._turn(now)

    # the operator's turn

    def _turn(self, now: datetime) -> None:
        """Gather, decide and apply, like the reconciler."""
        if self._status is None:
            return
        self.trace.counts["decisions"] += 1
        if self._written:
            self._status = without_recorded(self._status, self._script.uid, self._written)
        for entry in self._stored.unrecorded:
            uid = unrecorded_id(self._script.uid, entry)
            if uid not in self._outbox and uid not in self._written:
                if not self._outbox:
                    self._at(now + SECOND / 2, "flush")
                self._outbox[uid] = entry
        clock = now + self._weather.offset(now)
        observed = replace(self._task, status=self._status, stored=self._stored)
        plan = self._decide(observed, self._observed_jobs(now), clock)
        self._see(observed, clock)
        if not self._apply(plan, now, clock):
            return
        wake = plan.requeue_at
        self._wake = None if wake is None else max(now + SECOND / 4, wake - self._weather.offset(now))
        if self._wake is not None:
            self._at(self._wake, "wake")

    def _see(self, task: ObservedTask, clock: datetime) -> None:
        """Record the parts of the spec that this operator sees for the first time."""
        if self._lost_since is not None:
            self.trace.grey.append((self._lost_since - SECOND, clock))
            self._lost_since = None
        last = self._sights[-1] if self._sights else None
        valid = task.spec is not None and "61 " not in (task.spec.schedule or "")
        before = last.calendar if last else None
        calendar = task.spec.calendar if task.spec and valid else before
        blocked = not valid or (task.spec is not None and task.spec.suspend)
        if last is not None and (last.calendar, last.blocked) == (calendar, blocked):
            return
        # an operator whose clock was ahead has already settled earlier slots; a slot is settled once
        settled = max((launch.slot for launch in self.trace.launches), default=clock)
        at = max(clock, min(settled, clock + timedelta(minutes=1))) if last else self._script.created_at
        self._sights = (*self._sights, Sight(at.replace(microsecond=0), calendar, blocked))

    def _apply(self, plan: Plan, now: datetime, clock: datetime) -> bool:
        """Apply a plan; return whether the operator survives it."""
        status = plan.status
        before = self._status
        assert before is not None
        for action in plan.actions:
            if isinstance(action, Launch):
                if self._rng.random() < 0.002:
                    record = self._refused(action)
                    status = with_unrecorded(after_refusal(status, before, record), record)
                    self._emit(record, now)
                    continue
                self._launch(action.slot, now, clock)
                if self._rng.random() < 0.004:
                    self.trace.counts["killed between the Job and the status"] += 1
                    self._die(now)
                    self._at(now + self._rng.randrange(1, 4000) * SECOND, "start")
                    return False
            elif isinstance(action, RecordUnlaunched):
                self._emit(action, now)
            elif isinstance(action, EndExecution):
                job = self._jobs[action.job_name]
                job.ending, job.result = True, RunResult.CANCELLED
                job.ends_at = min(job.ends_at, now + self._rng.randrange(1, 31) * SECOND)
                job.seen_at = job.ends_at + SECOND / 2
                self._look(job.seen_at)
            elif isinstance(action, DeleteJob):
                del self._jobs[action.job_name]
        self._status = status
        if (status, self._sights) != (self._stored, self._stored_sights) and self._write_at is None:
            self._write_at = now + STATUS_LAG
            self._at(self._write_at, "write")
        return True

    def _refused(self, launch: Launch) -> RecordUnlaunched:
        self.trace.counts["refused"] += 1

        uid, why = launch.execution_id, Reason.LAUNCH_REFUSED
        return RecordUnlaunched(launch.slot, uid, ExecutionStatus.MISSED, why, "quota exceeded")

    def _emit(self, record: RecordUnlaunched, now: datetime) -> None:
        first = record.first_slot or record.slot
        self._emitted.add((first, record.slot))
        self._say(now, f"{record.status} {rfc3339(first)}..{rfc3339(record.slot)} {record.reason}")

    # the cluster

    def _launch(self, slot: datetime, now: datetime, clock: datetime) -> None:
        name = job_name(self._script.name, slot)
        if name in self._jobs:
            return  # the Job exists and belongs to this slot
        rng, typical = self._rng, self._script.typical_seconds
        lasts = timedelta(seconds=max(1, int(typical * rng.lognormvariate(0, 0.5))))
        result = rng.choice(ENDS)
        if rng.random() < 0.01:
            result = RunResult.UNKNOWN  # a user deletes the Job, or its node fails
        ends = now + lasts
        seen = ends + rng.choice((0, 0, 1, 3)) * SECOND
        if self._raw["spec"]["concurrencyPolicy"] != "Allow" and any(j.ends_at > now for j in self._jobs.values()):
            self.trace.overlaps.append(slot)
        self._number += 1
        self._jobs[name] = _Job(slot, f"job-{self._number}", ends, seen, result)
        again = slot in self._created
        self._created.add(slot)
        self.trace.launches.append(Launched(slot, clock, again, self._raw["spec"].get("maxRuns")))
        self._say(now, f"launches {rfc3339(slot)}{' AGAIN' if again else ''}")
        self._look(seen)

    def _look(self, when: datetime) -> None:
        """Schedule a turn for when a Job ends; several ends share one turn."""
        if self._look_at is None or when < self._look_at:
            self._look_at = when
        self._at(when, "look")

    def _observed_jobs(self, now: datetime) -> list[ObservedJob]:
        """Return the Jobs as the watch shows them: ends are seen a little late."""
        for name, job in list(self._jobs.items()):
            if job.view is None:
                job.view = ActiveJob(
                    name=name,
                    uid=job.uid,
                    task_uid=self._script.uid,
                    slot=job.slot,
                    execution_id=str(execution_id(self._script.uid, job.slot, Cause.SCHEDULE)),
                )
            if job.view.active and job.seen_at <= now:
                end = job.ends_at.replace(microsecond=0)
                result: JobResult = RunResult.FAILED
                if job.result is not RunResult.RUNNING and job.result is not RunResult.UNKNOWN:
                    result = job.result
                job.view = job.view.ended(result, end)
            if job.ending and not job.view.ending:
                job.view = replace(job.view, ending=True)
        return [job.view for job in self._jobs.values() if job.view is not None]
