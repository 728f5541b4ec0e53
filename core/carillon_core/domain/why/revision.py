"""A revision of a task: its spec as of one generation, as the history keeps it. Pure; the operator makes them.

A history must be readable after years and by many, so secrets in it are masked.
The schedule of a revision is kept apart from its spec: it is small and is all
that an explanation needs, so that a large spec need neither be kept nor read.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_core.domain.access.masking import masked_spec, masked_text
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.errors import cut
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import Calendar, ScheduledTaskSpec

MOST_REVISIONS = 50
"""How many revisions are kept of the tasks with one name; the newest ones."""
MOST_SPEC_CHARACTERS = 32 * 1024
"""The maximum size of a spec that is kept, as JSON. Of a larger one, only the schedule is kept."""


class Rules(Calendar):
    """The part of a spec that says when a task is launched."""

    jitter_seconds: int = 0
    """The maximum delay between a slot and its launch."""
    suspend: bool = False
    """Whether no slots are launched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRevision:
    """A task's spec as of one generation. Times are aware."""

    namespace: str
    task: str
    """The task's name."""
    task_uid: str
    generation: int
    created_at: datetime
    """When the task was created."""
    seen_at: datetime
    """Since when the spec is in force: when it was written, if its object tells, else when the operator saw it."""
    last_seen_at: datetime
    """When the task last had this generation, as far as is known. It is renewed every few hours."""
    rules: Rules | None
    """When the task was launched; None if the spec was invalid."""
    problem: str | None = None
    """Why the spec was invalid."""
    spec: dict[str, Any] | None = None
    """The spec with its secrets masked; None if it was invalid or too large, or was not read."""
    manager: str | None = None
    """The program that wrote the spec, as it calls itself."""

    @property
    def id(self) -> tuple[str, int]:
        """The task's uid and the generation."""
        return self.task_uid, self.generation


def revision_of(task: ObservedTask, now: datetime) -> TaskRevision:
    """Return the revision of a task as it is."""
    spec, created_at, written_at = task.spec, task.created_at, task.spec_write.at
    seen_at = now
    if task.meta.generation <= 1:
        seen_at = created_at
    elif written_at is not None and created_at <= written_at <= now:
        seen_at = written_at
    problem = None
    if spec is None:
        problem = task.quarantined or "; ".join(map(str, task.problems)) or "the spec is invalid"
    return TaskRevision(
        namespace=task.meta.namespace,
        task=task.meta.name,
        task_uid=task.meta.uid,
        generation=task.meta.generation,
        created_at=created_at,
        seen_at=seen_at,
        last_seen_at=max(now, seen_at),
        rules=None if spec is None else rules_of(spec),
        problem=None if problem is None else cut(masked_text(problem), MAX_MESSAGE),
        spec=None if spec is None else _kept(spec),
        manager=task.spec_write.manager,
    )


def rules_of(spec: ScheduledTaskSpec) -> Rules:
    """Return the part of a spec that says when its task is launched."""
    return Rules.model_construct(**{name: getattr(spec, name) for name in Rules.model_fields})


def _kept(spec: ScheduledTaskSpec) -> dict[str, Any] | None:
    """Return a spec as it is kept: the fields that are stored in the cluster, masked; None if it is too large."""
    text = spec.model_dump_json(by_alias=True, exclude_unset=True, exclude_none=True)
    return masked_spec(json.loads(text)) if len(text) <= MOST_SPEC_CHARACTERS else None
