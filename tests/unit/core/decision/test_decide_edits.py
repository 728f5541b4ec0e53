"""``decide`` after a change: edits, resumes, a target that appears."""

from datetime import datetime

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import RecordUnlaunched
from support.builders import Story, at, make_task
from support.plans import SUCCEEDED, TARGET, did, ready


def test_a_resume_before_the_suspension_was_seen_is_none() -> None:
    """A suspension that ends before the operator sees it has no effect: passed slots are missed as usual."""
    story = Story(make_task().every(60))
    story.turn("00:00:10")
    story.task.suspended()
    story.task.suspended(yes=False)
    assert did(story.turn("00:02:00")) == ["missed 00:01:00 SupersededByLaterSlot", "launch 00:02:00"]


def test_an_edit_while_suspended_runs_nothing() -> None:
    """Slots of the old schedule are skipped up to the edit, and slots of the new one after it."""
    story = Story(make_task().every(60).suspended())
    story.turn("00:00:10")
    story.task.edited(intervalSeconds=90)
    assert did(story.turn("00:02:10")) == ["skipped 00:01:00..00:02:00 Suspended"]
    story.task.suspended(yes=False)
    assert did(story.turn("00:04:40")) == ["skipped 00:03:00..00:04:30 Suspended"]


def test_a_calendar_that_this_release_cannot_read_has_no_slots() -> None:
    """If the stored schedule has an unknown time zone, slots count from the edit and none is recorded."""
    story = Story(make_task().cron("* * * * *", "Europe/Berlin"))
    story.turn("00:00:10")
    calendar = story.task.status.calendar
    assert calendar is not None
    gone = calendar.model_copy(update={"time_zone": "Europe/Atlantis"})
    story.task.status = story.task.status.model_copy(update={"calendar": gone})
    assert did(story.turn("00:02:10")) == []


def test_a_completed_task_that_is_resumed_has_missed_nothing() -> None:
    """After maxRuns there are no slots to record as skipped."""
    story = Story(make_task().every(60).with_spec(maxRuns=1))
    story.run("00:01:00", SUCCEEDED)
    story.turn("00:01:30")
    story.task.suspended()
    story.turn("00:02:30")
    story.task.suspended(yes=False)
    assert did(story.turn("00:09:30")) == []


def test_the_year_after_is_not_a_surprise() -> None:
    """A year of skipped seconds has one record."""
    story = Story(make_task().every(1).suspended())
    story.turn("00:00:10")
    story.task.suspended(yes=False)
    later = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
    plan = decide(story.task.observed(), [], later)
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.first_slot, record.slot) == (at("00:00:01"), later)


def test_a_target_that_is_mended_makes_the_task_ready() -> None:
    """When the target exists, the task becomes ready and the next slot runs."""
    story = Story(make_task().every(60).calling())
    story.turn("00:01:00")
    story.task.calling(target=TARGET)
    plan = story.turn("00:01:30")
    assert (did(plan), ready(plan)) == ([], ("True", "Scheduled"))
    assert did(story.turn("00:02:00")) == ["launch 00:02:00"]


def test_a_missing_target_is_announced_once() -> None:
    """The missing target causes one Event, not one on each turn."""
    story = Story(make_task().every(60).calling())
    assert [n.reason for n in story.turn("00:00:10").notices] == ["TargetNotFound"]
    assert story.turn("00:00:20").notices == ()
