"""A cache of parsed schedules.

The lists of all tasks are requested frequently, and parsing the specs costs a
hundred times more than computing the times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any

from cachetools import LRUCache

from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.decision.plan import Reason
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.timetable.schedule import Schedule, jitter_offset, schedule_of, schedule_problems
from carillon_core.domain.timetable.words import schedule_in_words
from carillon_core.errors import FieldProblem, TooMuchWorkError, cut
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

MAX_REMEMBERED = 20_000

Why = tuple[str, str]
"""A reason in CamelCase, and a sentence; see ``why_of``."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedule of a spec; it changes only with the spec."""

    zone: str
    schedule: Schedule | None
    """None if it is invalid."""
    max_runs: int | None = None
    why_never: Why | None = None
    """Why the task will not run, if the spec alone determines it."""
    delay: timedelta = timedelta(0)
    """The time from each slot to its launch, from ``jitterSeconds``."""
    words: str | None = None
    """The schedule in plain English; None if it is invalid."""


def why_of(reason: str, message: str) -> Why:
    """Return a reason and its message, both cut: statuses hold long ones, and the caches count only their entries."""
    return cut(reason, MAX_MESSAGE), cut(message, MAX_MESSAGE)


class Timetables:
    """The timetables of tasks, each parsed once; limited in size, and thread-safe."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        """Create an empty cache for at most ``most`` timetables."""
        self._known: LRUCache[tuple[str, int], Timetable] = LRUCache(most)
        self._lock = Lock()

    def of(self, raw: Mapping[str, Any]) -> Timetable:
        """Return the timetable of a task from the API server; this does not fail on an invalid spec."""
        meta = raw["metadata"]
        # the generation increases with every change of the spec, but not with the frequent changes of the status
        key = (meta.get("uid", ""), meta.get("generation", 0))
        if not all(key):
            return timetable_of(raw)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        made = timetable_of(raw)
        with self._lock:
            self._known[key] = made
        return made


def timetable_of(raw: Mapping[str, Any]) -> Timetable:
    """Return the timetable of a task from the API server, without the cache."""
    try:
        return CPU_LIMIT.run(partial(_timetable_of, raw))
    except TooMuchWorkError as error:
        return Timetable("UTC", None, why_never=why_of(Reason.QUARANTINED, f"its times cannot be computed: {error}"))


def _timetable_of(raw: Mapping[str, Any]) -> Timetable:
    task = ObservedTask.from_object(raw)
    if task.quarantined:
        return Timetable("UTC", None, why_never=why_of(Reason.QUARANTINED, task.quarantined))
    if task.spec is None:
        return Timetable("UTC", None, why_never=_invalid(Reason.INVALID_SPEC, task.problems))
    table = spec_timetable(task.spec, task.created_at)
    return replace(table, delay=jitter_offset(task.meta.uid, task.spec.jitter_seconds))


def spec_timetable(spec: ScheduledTaskSpec, created_at: datetime) -> Timetable:
    """Return the timetable of a spec whose task was created at ``created_at``."""
    problems = schedule_problems(spec)
    zone = "UTC" if any(p.path == "spec.timeZone" for p in problems) else spec.time_zone or "UTC"
    if problems:
        return Timetable(zone, None, why_never=_invalid(Reason.INVALID_SCHEDULE, problems))
    why = (
        (Reason.SUSPENDED, "the task is suspended: no slots are launched until spec.suspend is false")
        if spec.suspend
        else None
    )
    words = schedule_in_words(spec, spec.jitter_seconds)
    return Timetable(zone, schedule_of(spec, created_at), spec.max_runs, why, words=words)


def _invalid(reason: str, problems: Iterable[FieldProblem]) -> Why:
    return why_of(reason, "; ".join(str(p) for p in problems))
