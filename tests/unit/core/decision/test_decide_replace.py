"""``decide`` with the concurrency policy Replace."""

from support.builders import Story, make_task
from support.plans import CANCELLED, REPLACE, completed, did, job_name, ready


def test_replace_ends_what_is_active_and_launches_when_it_is_gone() -> None:
    """The new execution is launched after the old one has ended, so that two are never active."""
    story = Story(make_task().every(60).with_spec(**REPLACE))
    story.turn("00:01:00")
    assert did(story.turn("00:02:00")) == [f"cancelled {job_name('00:01:00')} Replaced"]
    assert did(story.turn("00:02:01")) == [], "an execution that is ending is not ended again"
    story.ends("00:01:00", CANCELLED, "00:02:02")
    plan = story.turn("00:02:03")
    assert did(plan) == ["launch 00:02:00"]
    assert ready(plan) == ("True", "Scheduled")


def test_a_slot_that_waits_to_replace_is_superseded_by_the_next() -> None:
    """If pods take long to end, only the latest waiting slot is launched."""
    story = Story(make_task().every(60).with_spec(**REPLACE))
    story.turn("00:01:00")
    story.turn("00:02:00")
    assert did(story.turn("00:03:00")) == ["missed 00:02:00 SupersededByLaterSlot"]
    story.gone("00:01:00")
    assert did(story.turn("00:03:01")) == ["launch 00:03:00"]


def test_a_slot_that_waits_to_replace_past_its_deadline_is_missed() -> None:
    """The starting deadline also applies while a slot waits."""
    story = Story(make_task().every(60).with_spec(**REPLACE, startingDeadlineSeconds=5))
    story.turn("00:01:00")
    story.turn("00:02:00")
    story.gone("00:01:00")
    assert did(story.turn("00:02:06")) == ["missed 00:02:00 StartingDeadlineExceeded"]


def test_the_last_slot_of_a_task_waits_to_replace() -> None:
    """A task is not completed while its last slot waits."""
    story = Story(make_task().every(60).with_spec(**REPLACE, endAt="2026-01-01T00:02:00Z"))
    story.turn("00:01:00")
    assert not completed(story.turn("00:02:00"))
    story.gone("00:01:00")
    plan = story.turn("00:02:05")
    assert did(plan) == ["launch 00:02:00"]
    assert completed(plan)
