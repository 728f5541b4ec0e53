"""Slots settled without a launch, kept in the status until the history has them. Pure.

The status is where such a decision becomes durable: it is written before the
row is, and the entry leaves it when the row is there. So neither an operator
that is killed nor a database that is away loses a row, and no slot that was
skipped is launched by the next operator after all.
"""

from collections.abc import Collection
from uuid import UUID

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import RecordUnlaunched
from carillon_core.domain.execution import execution_id
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import ScheduledTaskStatus, UnrecordedSlot

MAX_ENTRIES = 50
"""Beyond, the two oldest become one that stands for every slot from the one to the other."""


def with_unrecorded(status: ScheduledTaskStatus, record: RecordUnlaunched) -> ScheduledTaskStatus:
    """Return the status with one more entry."""
    entry = UnrecordedSlot(
        slot=record.slot,
        first_slot=record.first_slot,
        status=record.status.value,
        reason=record.reason,
        message=record.message[:MAX_MESSAGE],
    )
    # in the order of their slots: what a backlog owed is settled later than what came due after it
    entries = sorted([*(e for e in status.unrecorded if e.slot != entry.slot), entry], key=lambda e: e.slot)
    while len(entries) > MAX_ENTRIES:
        entries = _merged(entries)
    return status.model_copy(update={"unrecorded": entries})


def _merged(entries: list[UnrecordedSlot]) -> list[UnrecordedSlot]:
    """Return the entries with two neighbours as one: the oldest pair of one reason, else the oldest pair."""
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
