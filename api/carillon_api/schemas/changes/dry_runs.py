"""What a write would change: the responses of dry runs."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from carillon_api.schemas.answers import Answer, StatusField
from carillon_api.schemas.upcoming import FireTime
from carillon_core.resources.base import Time


class SlotChanges(Answer):
    """The slots that differ between the stored task and the task as it would be."""

    vanishing: list[FireTime]
    """Slots that the task has and would no longer have, earliest first."""
    appearing: list[FireTime]
    """Slots that the task would have and does not have, earliest first."""
    until: Time
    """The time up to which the slots were compared: a week ahead, or less if 50 slots differ or a thousand were
    compared before."""


class UnlaunchedSlots(Answer):
    """A slot, or a series of slots, that would be recorded without a launch."""

    slot: Time
    """The slot; the latest one of a series."""
    first_slot: Time | None
    """The earliest slot of a series."""
    status: StatusField
    """The status that it would get."""
    reason: str
    """Why, in one word."""
    message: str
    """The reason as a sentence."""


class EndedExecution(Answer):
    """An active execution that would be ended."""

    id: UUID
    """The execution's ID."""
    job_name: str
    """The Job that runs it."""


class AffectedObject(Answer):
    """An object that would be created or deleted."""

    kind: Literal["ScheduledTask", "HTTPTarget", "RunRequest", "Job"]
    """The object's kind."""
    name: str
    """The object's name. A RunRequest that would be created can get another name."""


class DryRun(Answer):
    """What a write would change if it were made now. Only the responses to dryRun=All have it; they changed nothing."""

    changed: bool
    """Whether the write would change anything."""
    created: list[AffectedObject] = Field(default_factory=list)
    """The objects that would be created."""
    deleted: list[AffectedObject] = Field(default_factory=list)
    """The objects that would be deleted, without the Jobs of a deleted task; at most 100."""
    slots: SlotChanges | None = None
    """For a task, the slots that would vanish or appear."""
    launches: list[Time] = Field(default_factory=list)
    """For a task, the slots that would be launched at once because of the write."""
    unlaunched: list[UnlaunchedSlots] = Field(default_factory=list)
    """For a task, the slots that would be recorded at once because of the write, without a launch."""
    ends: list[EndedExecution] = Field(default_factory=list)
    """The active executions that would be ended; at most 500 Jobs of a task are looked at."""
    notes: list[str] = Field(default_factory=list)
    """What could not be determined, and what was assumed instead."""


def _is_absent(value: Any) -> bool:
    return value is None


OfDryRun = Annotated[DryRun | None, Field(exclude_if=_is_absent)]
"""A field of responses to writes; responses that are not those of dry runs do not have it."""


class DeletionDryRun(Answer):
    """The dry run of a deletion. The object still exists."""

    namespace: str
    """The object's namespace."""
    name: str
    """The object's name."""
    dry_run: DryRun
    """What the deletion would change."""
