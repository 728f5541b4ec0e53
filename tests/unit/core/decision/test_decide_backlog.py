"""``decide`` with the missed-run policy All: what the backlog holds, and how it is worked off."""

from datetime import timedelta

import pytest

from carillon_core.domain.decision.plan import Launch, RecordUnlaunched
from carillon_core.domain.decision.settle import MAX_BACKLOG
from carillon_core.resources import ScheduledTaskStatus
from carillon_core.resources.scheduled_task import MAX_STRETCHES, Backlog, Stretch
from support.builders import Story, at, carried_out, decide_to_fixed_point, make_job, make_task
from support.plans import ALL, ALLOW, SUCCEEDED, did


def test_a_backlog_is_paid_one_after_another_oldest_first() -> None:
    """With Forbid, each slot is launched when the previous execution ends; then the schedule continues."""
    story = Story(make_task().every(60).with_spec(**ALL))
    done = [did(story.turn("00:03:10"))]
    for slot, ends, looks in (("01", "20", "20"), ("02", "30", "30"), ("03", "40", "40")):
        story.ends(f"00:{slot}:00", SUCCEEDED, f"00:03:{ends}")
        done.append(did(story.turn(f"00:03:{looks}")))
    assert done == [["launch 00:01:00"], ["launch 00:02:00"], ["launch 00:03:00"], []]
    assert story.task.status.backlog is None
    assert did(story.turn("00:04:00")) == ["launch 00:04:00"]


def test_a_backlog_is_bounded() -> None:
    """Of 300 missed slots, the latest 100 are launched and the others share one record."""
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    plan = story.turn("05:00:00")
    record, *launches = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.first_slot, record.slot, record.reason) == (at("00:01"), at("03:20"), "TooManyMissed")
    assert [a.slot for a in launches if isinstance(a, Launch)] == [
        at("03:20") + timedelta(minutes=k + 1) for k in range(MAX_BACKLOG)
    ]


def test_a_slot_on_time_that_finds_the_backlog_running_is_skipped() -> None:
    """Forbid also applies to a new slot while the backlog runs."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    assert did(story.turn("00:04:00")) == ["skipped 00:04:00 StillActive"]


def test_a_slot_on_time_does_not_overtake_the_backlog() -> None:
    """A slot that comes due between two executions of the backlog runs after the backlog."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:04:00")
    done = [did(story.turn("00:04:00"))]
    for slot in ("02", "03", "04"):
        story.ends(f"00:{slot}:00", SUCCEEDED, "00:04:10")
        done.append([what for what in did(story.turn("00:04:10")) if what.startswith("launch")])
    assert done == [["launch 00:02:00"], ["launch 00:03:00"], ["launch 00:04:00"], []]


def test_a_second_outage_adds_to_the_backlog() -> None:
    """Slots of two outages form one backlog if no slot between them is settled."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:03:20")
    story.turn("00:06:10")
    launched = ["00:02:00"]
    for slot in ("00:02:00", "00:03:00", "00:04:00", "00:05:00"):
        story.ends(slot, SUCCEEDED, "00:06:20")
        launched += [w.removeprefix("launch ") for w in did(story.turn("00:06:21")) if w.startswith("launch")]
    assert launched == ["00:02:00", "00:03:00", "00:04:00", "00:05:00", "00:06:00"]


def test_a_second_outage_after_a_settled_slot_is_owed_besides() -> None:
    """Slots of both outages run, oldest first; the settled slot between them does not run."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.turn("00:04:00")  # skipped, so this slot is settled
    done = []
    for slot in ("01", "02", "03", "05", "06"):
        story.ends(f"00:{slot}:00", SUCCEEDED, "00:06:10")
        done.append([what for what in did(story.turn("00:06:10")) if not what.startswith("delete")])
    assert done == [["launch 00:02:00"], ["launch 00:03:00"], ["launch 00:05:00"], ["launch 00:06:00"], []]
    assert story.task.status.backlog is None
    assert did(story.turn("00:07:00")) == ["launch 00:07:00"]


def test_too_many_outages_give_the_oldest_up() -> None:
    """Beyond the limit, the oldest stretch is recorded as missed and the others stay in the backlog."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:02:10")  # launches 00:01; 00:02 is in the backlog
    given_up = []
    for minute in range(3, 3 + 3 * MAX_STRETCHES, 3):
        assert did(story.turn(f"00:{minute:02}:00")) == [f"skipped 00:{minute:02}:00 StillActive"]
        given_up += did(story.turn(f"00:{minute + 2:02}:10"))
    assert given_up == ["missed 00:02:00 TooManyMissed"]
    backlog = story.task.status.backlog
    assert backlog is not None
    assert len(backlog.stretches) == MAX_STRETCHES


def test_outages_that_follow_each_other_owe_no_more_than_others() -> None:
    """Adjacent outages merge up to the limit of one stretch; the oldest slots are recorded as missed, in order."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:01:00")
    story.ends("00:01:00", SUCCEEDED, "00:01:10")
    gone: list[RecordUnlaunched] = []
    for outage in range(1, 3 * MAX_STRETCHES):
        plan = decide_to_fixed_point(
            story.task, story.jobs, at("00:01:10") + timedelta(minutes=outage * MAX_BACKLOG // 2)
        )
        story.jobs = carried_out(plan.actions, story.jobs)
        gone += [action for action in plan.actions if isinstance(action, RecordUnlaunched)]
        backlog = story.task.status.backlog
        assert backlog is not None
        owed = [round((stretch.until - stretch.after) / timedelta(minutes=1)) for stretch in backlog.stretches]
        assert max(owed) <= MAX_BACKLOG
        assert len(owed) <= MAX_STRETCHES
    assert {record.reason for record in gone} == {"TooManyMissed"}
    given_up = [(record.first_slot, record.slot) for record in gone]
    assert [first for first, _ in given_up[1:]] == [last + timedelta(minutes=1) for _, last in given_up[:-1]]


def owing(*stretches: tuple[str, str]) -> Backlog:
    """Return a backlog with these stretches, each from one time (exclusive) to another."""
    found = Backlog.of([Stretch(after=at(after), until=at(until)) for after, until in stretches])
    assert found is not None
    return found


STRANGE: dict[str, tuple[Backlog, list[str]]] = {
    "the same twice": (owing(("00:01", "00:03"), ("00:01", "00:03")), ["00:02:00", "00:03:00"]),
    "one that begins in another": (owing(("00:01", "00:03"), ("00:02", "00:04")), ["00:02:00", "00:03:00", "00:04:00"]),
    "one of before the one before": (owing(("00:02", "00:03"), ("00:00", "00:01")), ["00:03:00"]),
    "one that ends before it begins": (owing(("00:03", "00:02")), []),
    "one of a time to come": (owing(("10:00", "12:00")), []),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_backlog_that_nobody_could_owe_launches_nothing_twice_and_nothing_too_early(case: str) -> None:
    """A backlog written by hand, or with a wrong clock, launches no slot twice and none early."""
    backlog, want = STRANGE[case]
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    story.task.status = ScheduledTaskStatus(settled_until=at("00:05"), backlog=backlog)
    plan = story.turn("00:05:20")
    assert did(plan) == [f"launch {slot}" for slot in want]
    assert plan.status.runs == len(want)


def test_a_backlog_of_years_ends_in_one_turn() -> None:
    """An oversized backlog launches up to the limit and records the remaining slots together."""
    story = Story(make_task().every(1).with_spec(**ALL, **ALLOW))
    story.task.status = ScheduledTaskStatus(settled_until=at("20:00"), backlog=owing(("00:00", "20:00")))
    actions = story.turn("20:00").actions
    assert sum(isinstance(action, Launch) for action in actions) == MAX_BACKLOG * MAX_STRETCHES
    assert len(actions) == MAX_BACKLOG * MAX_STRETCHES + 1


@pytest.mark.parametrize("change", ["an edit", "a crash"])
def test_no_stretch_is_lost(change: str) -> None:
    """An edit records every stretch as missed; after a crash, existing Jobs settle their slots."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.turn("00:04:00")
    story.turn("00:06:10")
    if change == "an edit":
        story.task.every(30)
        assert did(story.turn("00:06:20")) == [
            "missed 00:02:00..00:03:00 ScheduleChanged",
            "missed 00:05:00..00:06:00 ScheduleChanged",
        ]
    else:
        owing = story.task.status
        story.jobs = [make_job(f"00:{slot}:00") for slot in ("01", "02", "03", "05")]
        for slot in ("01", "02", "03", "05"):
            story.ends(f"00:{slot}:00", SUCCEEDED, "00:06:20")
        story.task.status = owing
        assert did(story.turn("00:06:20")) == ["launch 00:06:00"]


def test_a_suspended_backlog_is_not_paid() -> None:
    """A suspended task launches nothing, and resuming it records the backlog as skipped."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:03:20")
    story.task.suspended()
    assert did(story.turn("00:03:30")) == []
    story.task.suspended(yes=False)
    plan = story.turn("00:05:30")
    assert did(plan) == ["skipped 00:04:00..00:05:00 Suspended", "skipped 00:02:00..00:03:00 Suspended"]
    assert plan.requeue_at == at("00:06:00")


def test_an_edit_gives_a_backlog_up() -> None:
    """An edit of the schedule records the backlog as missed."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:03:20")
    story.task.edited(intervalSeconds=90)
    assert did(story.turn("00:03:30")) == ["missed 00:02:00..00:03:00 ScheduleChanged"]


@pytest.mark.parametrize("lost", ["everything", "since the backlog"])
def test_a_crash_in_the_middle_of_a_backlog_launches_nothing_twice(lost: str) -> None:
    """Existing Jobs settle their slots whatever the status says, and each counts as one run."""
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    plan = story.turn("00:05:10")
    story.jobs = story.jobs[:2]  # the operator died after the second launch of five
    owing = plan.status.model_copy(update={"backlog": Backlog(after=at("00:00"), until=at("00:05")), "runs": 0})
    story.task.status = ScheduledTaskStatus() if lost == "everything" else owing
    plan = story.turn("00:05:20")
    assert did(plan) == ["launch 00:03:00", "launch 00:04:00", "launch 00:05:00"]
    assert plan.status.runs == 5


@pytest.mark.parametrize("slots", [["00:03:00"], ["00:02:00", "00:03:00"]])
def test_what_a_launch_overtook_is_recorded_though_the_status_was_lost(slots: list[str]) -> None:
    """If the operator dies between Job and status, slots before the Job's are recorded as missed."""
    story = Story(make_task().every(60))
    story.jobs = [make_job(slot) for slot in slots]
    earlier = "00:01:00..00:02:00" if len(slots) == 1 else "00:01:00"
    assert did(story.turn("00:03:10")) == [f"missed {earlier} SupersededByLaterSlot"]


def test_what_a_backlog_passed_over_is_recorded_though_the_status_was_lost() -> None:
    """Slots of the backlog before an existing Job's are recorded as missed."""
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    story.task.status = ScheduledTaskStatus(
        settled_until=at("00:05"), backlog=Backlog(after=at("00:00"), until=at("00:05"))
    )
    story.jobs = [make_job("00:03:00")]
    assert did(story.turn("00:05:20")) == [
        "missed 00:01:00..00:02:00 SupersededByLaterSlot",
        "launch 00:04:00",
        "launch 00:05:00",
    ]
