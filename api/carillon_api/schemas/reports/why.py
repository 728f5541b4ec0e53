"""Why a task ran, or did not, at a time; and the revisions of its spec: query parameters and responses."""

import re
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema

from carillon_api.schemas.answers import Answer, Page, Parameters, StatusField
from carillon_api.schemas.executions import FIRST_YEAR, LAST_YEAR
from carillon_core.domain.why.revision import MOST_REVISIONS
from carillon_core.domain.why.verdict import Outcome
from carillon_core.resources.base import Time

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


def _asked(given: object) -> datetime:
    """Return a time with or without an offset."""
    if isinstance(given, datetime):
        return given
    text = given if isinstance(given, str) else ""
    hint = " (write + as %2B in a URL)" if " " in text else ""
    forms = "2027-01-01T00:00:00Z, or as 2027-01-01T00:00 in the task's time zone"
    msg = f"is not a date and time: write it as {forms}{hint}"
    if not _WRITTEN.fullmatch(text):
        raise ValueError(msg)
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(msg) from error
    if not FIRST_YEAR <= when.year <= LAST_YEAR:
        raise ValueError(f"must be in a year from {FIRST_YEAR} to {LAST_YEAR}")
    return when


class WhyQuery(Parameters):
    """Which time to explain."""

    at: Annotated[
        datetime | None, BeforeValidator(_asked), WithJsonSchema({"type": "string", "format": "date-time"})
    ] = None
    """The time to explain, at most ten years ahead: RFC 3339, or without an offset in the task's present time zone,
    such as 2027-01-01T09:30. It selects the slot in the same minute if the schedule is a cron expression with five
    fields, otherwise the slot in the same second. Default: now."""


class ChangedBy(Answer):
    """Who changed a spec."""

    manager: str | None
    """The program, as it calls itself: metadata.managedFields names it."""
    user: str | None
    """The user, if the change was made through this API and the caller may list the audit there."""


class RevisionBrief(Answer):
    """Which spec was in force."""

    uid: str
    """The task's UID. A later task with the same name has a different one."""
    generation: int
    """The spec's generation."""
    seen_at: Time
    """When it came into force."""
    changed_by: ChangedBy
    """Who made the change."""


class ExecutionBrief(Answer):
    """The execution of a slot."""

    id: UUID
    """The execution's ID."""
    slot: Time
    """The scheduled time. For an execution that covers several slots, the latest of them."""
    first_slot: Time | None
    """For an execution that covers several slots, the earliest of them."""
    status: StatusField
    """The current or final status."""
    reason: str | None
    """Why, in one word: the gate that stopped it, or the class of its failure."""
    message: str | None
    """The reason as a sentence."""
    started_at: AwareDatetime | None
    """When it started."""
    finished_at: AwareDatetime | None
    """When it ended."""


class SuspensionView(Answer):
    """A suspension."""

    since: Time
    """When it began, as far as revisions are kept."""
    since_or_earlier: bool
    """Whether it may have begun before since."""
    generation: int
    """The generation that began it."""
    changed_by: ChangedBy
    """Who began it."""


class Why(Answer):
    """What should have happened at a time, and what did."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    at: Time
    """The time that is explained."""
    time_zone: str
    """The time zone of the schedule at that time."""
    outcome: Outcome
    """What happened. Ran: it ran, successfully or not. Running: it has not ended. Skipped: a gate stopped it. Missed:
    nothing could launch it in time. NotLaunched: something that it needs is missing, or its pod did not start. Pending:
    it is due and not settled. NotDue: there was no slot. SkippedByClockChange: the clock skipped it, or repeated it.
    Suspended, InvalidSpec, BeforeStart, AfterEnd, NotCreated, Deleted: the state of the task at that time. WillRun,
    WillNotRun: it is in the future. Unknown: nothing is kept from that time. Later releases may add values."""
    message: str
    """Why, in one sentence."""
    reason: str | None
    """The gate that stopped it, or the class of its failure, in one word."""
    slot: Time | None
    """The slot at that time; null if there is none."""
    execution: ExecutionBrief | None
    """The recorded execution of the slot."""
    revision: RevisionBrief | None
    """The spec in force at that time; null if it is not kept."""
    suspension: SuspensionView | None
    """Set if the task was, or will be, suspended at that time."""
    clock_change: str | None
    """What a change of the clock did to the slot."""
    slot_before: Time | None
    """The nearest earlier slot, according to the spec at that time."""
    slot_after: Time | None
    """The nearest later slot, according to the spec at that time."""


class RevisionsQuery(Parameters):
    """Which revisions to list."""

    limit: int = Field(default=20, ge=1, le=MOST_REVISIONS)
    """The maximum number of items per page, 1 to 50."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the previous page."""


class RevisionView(RevisionBrief):
    """One revision of a task."""

    created_at: Time
    """When the task was created."""
    last_seen_at: Time
    """When the task was last known to have this generation; renewed every few hours."""
    spec: dict[str, Any] | None
    """The spec, with likely secrets replaced by `***`. Null if it was invalid, or larger than 32 KiB."""
    problem: str | None
    """Why the spec was invalid."""


class RevisionList(Page):
    """One page of a task's revisions, newest first."""

    items: list[RevisionView]
    """The revisions. At most 50 are kept per name; of changes within five seconds, only the last."""
