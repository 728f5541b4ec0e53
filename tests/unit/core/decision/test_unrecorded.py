"""The slots that a status still has to record: they are bounded, merged, and removed when the history has them."""

from dataclasses import replace
from datetime import timedelta

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import Reason, RecordUnlaunched
from carillon_core.domain.decision.unrecorded import MAX_ENTRIES, with_unrecorded, without_recorded
from carillon_core.domain.execution import execution_id
from carillon_core.resources import ScheduledTaskStatus
from carillon_core.resources.scheduled_task import UnrecordedSlot
from support.builders import TASK_UID, Story, at, make_job, make_task


def entry(minute: int, reason: str = "StillActive") -> RecordUnlaunched:
    """Return the record of a skipped slot."""
    story = decide(make_task().every(60).observed(), [make_job("00:00:30")], at("00:01:00"))
    (record,) = story.actions
    assert isinstance(record, RecordUnlaunched)
    fields = {f: getattr(record, f) for f in ("execution_id", "status", "message")}
    return RecordUnlaunched(slot=at("00:00") + timedelta(minutes=minute), reason=reason, **fields)  # type: ignore[arg-type]  # a reason of its own


def span(e: UnrecordedSlot) -> tuple[int, int]:
    """Return the first and the last minute of an entry."""
    return int(((e.first_slot or e.slot) - at("00:00")).total_seconds() // 60), int(
        (e.slot - at("00:00")).total_seconds() // 60
    )


def test_unrecorded_slots_are_bounded_and_the_oldest_become_one_run() -> None:
    """A status has at most fifty entries; the oldest merge into one entry for all of their slots."""
    status = ScheduledTaskStatus()
    for minute in range(MAX_ENTRIES + 10):
        status = with_unrecorded(status, entry(minute))
    spans = [span(e) for e in status.unrecorded]
    assert len(spans) == MAX_ENTRIES
    assert spans[:2] == [(0, 10), (11, 11)]


def test_entries_of_one_reason_are_merged_first() -> None:
    """Entries with the same reason merge before entries with different reasons."""
    status = with_unrecorded(ScheduledTaskStatus(), entry(0, "StartingDeadlineExceeded"))
    for minute in range(1, MAX_ENTRIES + 1):
        status = with_unrecorded(status, entry(minute))
    assert [span(e) for e in status.unrecorded][:2] == [(0, 0), (1, 2)]


def test_entries_of_two_reasons_are_merged_if_no_others_are_left() -> None:
    """The number of entries is bounded even if no two neighbours have the same reason."""
    status = ScheduledTaskStatus()
    for minute in range(MAX_ENTRIES + 1):
        status = with_unrecorded(status, entry(minute, f"Reason{minute % 2}"))
    assert [span(e) for e in status.unrecorded][:2] == [(0, 1), (2, 2)]


def test_a_run_that_is_recorded_late_is_merged_in_its_place() -> None:
    """Slots that are recorded out of order merge by time, so that no entry ends before it begins."""
    status = ScheduledTaskStatus()
    for minute in [*range(10, 10 + MAX_ENTRIES), 3, 4]:
        status = with_unrecorded(status, entry(minute))
    spans = [span(e) for e in status.unrecorded]
    assert spans[0] == (3, 10)
    assert all(first <= last for first, last in spans)


def test_what_the_history_has_leaves_the_status() -> None:
    """Only recorded entries are removed."""
    story = Story(make_task().every(60))
    plan = story.turn("00:03:10")
    first, second = (a for a in plan.actions if isinstance(a, RecordUnlaunched))
    left = without_recorded(plan.status, TASK_UID, {first.execution_id})
    assert [e.slot for e in left.unrecorded] == [second.slot]
    assert without_recorded(left, TASK_UID, set()) is left


def test_entries_become_one_in_the_order_of_their_slots() -> None:
    """Entries merge by time, not in the order in which they were settled."""
    status = ScheduledTaskStatus()
    slots = [at("02:00"), at("01:00"), *(at("03:00") + timedelta(minutes=k) for k in range(MAX_ENTRIES))]
    for slot in slots:
        record = RecordUnlaunched(
            slot, execution_id(TASK_UID, slot, Cause.SCHEDULE), ExecutionStatus.MISSED, Reason.SUPERSEDED, ""
        )
        status = with_unrecorded(status, record)
    assert [e for e in status.unrecorded if e.first_slot is not None and e.first_slot > e.slot] == []
    assert min(e.first_slot or e.slot for e in status.unrecorded) == at("01:00")


def test_a_run_of_slots_that_joins_another_keeps_its_beginning() -> None:
    """A merged entry begins with the earlier first slot of the two."""
    status = ScheduledTaskStatus()
    for k in range(MAX_ENTRIES):
        status = with_unrecorded(status, skipped(at("03:00") + timedelta(minutes=k)))
    status = with_unrecorded(status, replace(skipped(at("02:00")), first_slot=at("00:00")))
    status = with_unrecorded(status, skipped(at("01:00")))
    assert min(e.first_slot or e.slot for e in status.unrecorded) == at("00:00")


def skipped(slot: object) -> RecordUnlaunched:
    """Return the record of a missed slot."""
    uid = execution_id(TASK_UID, slot, Cause.SCHEDULE)  # type: ignore[arg-type]
    return RecordUnlaunched(slot, uid, ExecutionStatus.MISSED, Reason.SUPERSEDED, "")  # type: ignore[arg-type]
