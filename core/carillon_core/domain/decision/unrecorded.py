"""Keeps slots that were settled without a launch in the status until the history has them. Pure.

The status makes such a decision durable: it is written before the row, and the
entry is removed when the row exists. So no row is lost when the operator is
killed or the database is unavailable, and the next operator does not launch a
slot that was skipped.
"""

from collections.abc import Collection
from uuid import UUID

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import RecordUnlaunched
from carillon_core.domain.execution import execution_id
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import ScheduledTaskStatus, UnrecordedSlot

MAX_ENTRIES = 50
"""The maximum number of entries; beyond it, two are merged into one that covers every slot between them."""


def with_unrecorded(status: ScheduledTaskStatus, record: RecordUnlaunched) -> ScheduledTaskStatus:
    """Return the status with one more entry."""
    entry = UnrecordedSlot(
        slot=record.slot,
        first_slot=record.first_slot,
        status=record.status.value,
        reason=record.reason,
        message=record.message[:MAX_MESSAGE],
    )
    # by slot: a slot of the backlog may be settled after later slots
    entries = sorted([*(e for e in status.unrecorded if e.slot != entry.slot), entry], key=lambda e: e.slot)
    while len(entries) > MAX_ENTRIES:
        entries = _merged(entries)
    return status.model_copy(update={"unrecorded": entries})


def _merged(entries: list[UnrecordedSlot]) -> list[UnrecordedSlot]:
    """Return the entries with two neighbours merged: the oldest pair with the same reason, else the oldest pair."""
    alike = (i for i in range(len(entries) - 1) if entries[i].reason == entries[i + 1].reason)
    at = next(alike, 0)
    first, second = entries[at], entries[at + 1]
    earliest = min(e.first_slot or e.slot for e in (first, second))
    both = second.model_copy(update={"first_slot": earliest})
    return [*entries[:at], both, *entries[at + 2 :]]


def without_recorded(status: ScheduledTaskStatus, task_uid: str, recorded: Collection[UUID]) -> ScheduledTaskStatus:
    """Return the status without the entries whose rows are in the history."""
    left = [e for e in status.unrecorded if unrecorded_id(task_uid, e) not in recorded]
    return status if len(left) == len(status.unrecorded) else status.model_copy(update={"unrecorded": left})


def unrecorded_id(task_uid: str, entry: UnrecordedSlot) -> UUID:
    """Return the id of an entry's execution."""
    return execution_id(task_uid, entry.slot, Cause.SCHEDULE)
