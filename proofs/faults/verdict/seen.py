"""What was seen of a plan's tasks, Jobs and rows, and what an oracle says of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from carillon_core.domain.timetable.schedule import schedule_of
from carillon_core.resources.scheduled_task import ScheduledTaskSpec
from faults.injection.director import Blur, Outage
from faults.verdict.pulses import Pulse

LOST = "lost"
DOUBLED = "doubled"
OVERLAPPED = "overlapped"


@dataclass(slots=True)
class JobSeen:
    """A Job as the witness saw it."""

    name: str
    uid: str
    task: str
    task_uid: str
    slot: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    """When the end of its pod or of itself was first seen."""
    last_end_at: datetime | None = None
    """When such an end was seen last."""
    pods: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class RowSeen:
    """A row of the history."""

    id: str
    task: str
    slot: datetime
    first_slot: datetime | None
    status: str
    reason: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A task of the plan, as the API server stored it."""

    name: str
    uid: str
    created_at: datetime
    spec: ScheduledTaskSpec

    def slots(self, until: datetime) -> list[datetime]:
        """Return the slots that are due by a time."""
        schedule = schedule_of(self.spec, self.created_at)
        found: list[datetime] = []
        slot = schedule.next_fire_time(self.created_at)
        while slot is not None and slot <= until:
            found.append(slot)
            slot = schedule.next_fire_time(slot)
        return found

    def next_slot(self, slot: datetime) -> datetime | None:
        """Return the slot after one."""
        return schedule_of(self.spec, self.created_at).next_fire_time(slot)


@dataclass(frozen=True, slots=True)
class World:
    """The observed outcome of a plan."""

    tasks: Sequence[TaskSeen]
    until: datetime
    """Slots up to this time are judged; later ones only must not have run twice."""
    jobs: Sequence[JobSeen]
    rows: Sequence[RowSeen]
    hits: Mapping[str, Sequence[datetime]]
    """By execution id."""
    counters: Mapping[str, int] = field(default_factory=dict)
    outages: Sequence[Outage] = ()
    blurs: Sequence[Blur] = ()
    unrecorded: Mapping[str, int] = field(default_factory=dict)
    """The number of slots in each task's status that still have to be recorded."""
    unheeded: frozenset[str] = frozenset()
    """The tasks whose suspension at the end of the plan no operator acknowledged: no operator works."""
    killed_pods: frozenset[str] = frozenset()
    """The Jobs whose pod was killed on purpose."""
    disturbed: frozenset[str] = frozenset()
    """The Jobs that were deleted on purpose, or whose pod was deleted or evicted, with a grace period."""
    ahead: timedelta = timedelta()
    """By how much the clock of an operator was ahead."""
    requests: int = 0
    """How many requests for the task ``ASKED`` were created."""
    pulses: Sequence[Pulse] = ()
    """What containers noted while they lived."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken guarantee."""

    task: str
    slot: datetime | None
    what: str
    kind: str = ""
    """``LOST``, ``DOUBLED`` or ``OVERLAPPED``, where it is one of them."""

    def __str__(self) -> str:
        slot = f" slot {self.slot:%H:%M:%S}" if self.slot else ""
        return f"{self.task}{slot}: {self.what}"
