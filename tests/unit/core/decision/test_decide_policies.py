"""``decide`` over time: bounds, jitter, overlap, missed runs, the circuit, retention; each turn to its fixed point."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Plan, RecordUnlaunched
from carillon_core.domain.decision.settle import MAX_BACKLOG
from carillon_core.domain.decision.unrecorded import MAX_ENTRIES, with_unrecorded, without_recorded
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.domain.timetable.schedule import jitter_offset
from carillon_core.resources import RunResult, ScheduledTaskStatus
from carillon_core.resources.scheduled_task import MAX_STRETCHES, Backlog, Stretch, UnrecordedSlot
from support.builders import (
    TASK_UID,
    Story,
    TaskBuilder,
    at,
    carried_out,
    decide_to_fixed_point,
    make_job,
    make_manual_job,
    make_task,
    taken_back,
)

SUCCEEDED, FAILED, CANCELLED = RunResult.SUCCEEDED, RunResult.FAILED, RunResult.CANCELLED
ALL = {"missedRunPolicy": "All"}
ALLOW = {"concurrencyPolicy": "Allow"}
REPLACE = {"concurrencyPolicy": "Replace"}
TARGET = {"url": "http://shop.example/"}


def did(plan: Plan) -> list[str]:
    """Return what a plan does, a few words for each action."""
    words = []
    for a in plan.actions:
        match a:
            case Launch():
                words.append(f"launch {a.slot:%H:%M:%S}")
            case RecordUnlaunched():
                first = f"{a.first_slot:%H:%M:%S}.." if a.first_slot else ""
                words.append(f"{a.status.value} {first}{a.slot:%H:%M:%S} {a.reason.value}")
            case EndExecution():
                words.append(f"{a.status.value} {a.job_name} {a.reason}")
            case DeleteJob():
                words.append(f"delete {a.job_name}")
    return words


def ready(plan: Plan) -> tuple[str, str]:
    """Return what Ready says."""
    (condition,) = (c for c in plan.status.conditions if c.type == "Ready")
    return condition.status, condition.reason


def completed(plan: Plan) -> bool:
    """Return whether the task says that it is completed."""
    return any(c.type == "Completed" and c.status == "True" for c in plan.status.conditions)


def name(slot: str) -> str:
    """Return the name of a slot's Job."""
    return make_job(slot).name


FIRST_LOOK: dict[str, dict[str, Any]] = {
    "Latest: the latest runs, the others are superseded": {
        "task": make_task().every(60),
        "now": "00:03:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "missed 00:02:00 SupersededByLaterSlot", "launch 00:03:00"],
    },
    "Latest within a deadline: the latest runs if it is in time": {
        "task": make_task().every(60).with_spec(startingDeadlineSeconds=10),
        "now": "00:02:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "launch 00:02:00"],
    },
    "Latest past a deadline: nothing runs": {
        "task": make_task().every(60).with_spec(startingDeadlineSeconds=9),
        "now": "00:02:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "missed 00:02:00 StartingDeadlineExceeded"],
    },
    "Skip: what is seen more than 30 seconds late does not run": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip"),
        "now": "00:02:31",
        "want": ["missed 00:01:00 MissedRunPolicy", "missed 00:02:00 MissedRunPolicy"],
    },
    "Skip: what is seen at once runs": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip"),
        "now": "00:02:30",
        "want": ["missed 00:01:00 MissedRunPolicy", "launch 00:02:00"],
    },
    "Skip with a deadline: the deadline says how late": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip", startingDeadlineSeconds=50),
        "now": "00:02:50",
        "want": ["missed 00:01:00 MissedRunPolicy", "launch 00:02:00"],
    },
    "Skip with a deadline, past it": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip", startingDeadlineSeconds=49),
        "now": "00:02:50",
        "want": ["missed 00:01:00 MissedRunPolicy", "missed 00:02:00 StartingDeadlineExceeded"],
    },
    "All with Forbid: the oldest first, one at a time": {
        "task": make_task().every(60).with_spec(**ALL),
        "now": "00:03:10",
        "want": ["launch 00:01:00"],
    },
    "All with Allow: everything at once": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW),
        "now": "00:03:10",
        "want": ["launch 00:01:00", "launch 00:02:00", "launch 00:03:00"],
    },
    "All with a deadline: what is past it is missed": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW, startingDeadlineSeconds=100),
        "now": "00:03:10",
        "want": ["missed 00:01:00 StartingDeadlineExceeded", "launch 00:02:00", "launch 00:03:00"],
    },
    "All while a request's Job is active: nothing yet": {
        "task": make_task().every(60).with_spec(**ALL),
        "jobs": [make_manual_job("00:01:30")],
        "now": "00:03:10",
        "want": [],
    },
    "a target that is missing fails its slot": {
        "task": make_task().every(60).calling(),
        "now": "00:01:00",
        "want": ["failed 00:01:00 TargetNotFound"],
        "want_ready": ("False", "TargetNotFound"),
    },
    "a target that is invalid fails its slot": {
        "task": make_task().every(60).calling(target={"url": "nowhere"}),
        "now": "00:01:00",
        "want": ["failed 00:01:00 TargetInvalid"],
        "want_ready": ("False", "TargetInvalid"),
    },
    "a target that is missing is told before a slot is due": {
        "task": make_task().every(60).calling(),
        "now": "00:00:10",
        "want": [],
        "want_ready": ("False", "TargetNotFound"),
    },
    "a target that is there stops nothing": {
        "task": make_task().every(60).calling(target=TARGET),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
    },
    "startAt is an interval's first slot": {
        "task": make_task().every(60).with_spec(startAt="2026-01-01T00:00:45Z"),
        "now": "00:00:45",
        "want": ["launch 00:00:45"],
        "want_next": "00:01:45",
    },
    "no slot of a cron comes before startAt": {
        "task": make_task().cron("* * * * *").with_spec(startAt="2026-01-01T00:02:30Z"),
        "now": "00:02:40",
        "want": [],
        "want_next": "00:03:00",
    },
    "a slot at endAt is the last": {
        "task": make_task().cron("* * * * *").with_spec(endAt="2026-01-01T00:01:00Z"),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "durationSeconds counts from the creation": {
        "task": make_task().cron("* * * * *").with_spec(durationSeconds=90),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "durationSeconds counts from startAt": {
        "task": make_task().every(60).with_spec(startAt="2026-01-01T00:05:00Z", durationSeconds=60),
        "now": "00:06:00",
        "want": ["missed 00:05:00 SupersededByLaterSlot", "launch 00:06:00"],
        "want_ready": ("True", "Completed"),
    },
    "maxRuns completes a task": {
        "task": make_task().every(60).with_spec(maxRuns=1),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "a backlog never launches more than maxRuns": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW, maxRuns=2),
        "now": "00:05:00",
        "want": ["launch 00:01:00", "launch 00:02:00"],
        "want_ready": ("True", "Completed"),
    },
    "a pod that cannot start is given time": {
        "task": make_task().every(3600),
        "jobs": [make_job("01:00", trouble=PodTrouble("ErrImagePull", "no such image", at("01:00:01")))],
        "now": "01:00:45",
        "want": [],
        "want_next": "01:00:46",
    },
    "a pod that could not start for too long is ended": {
        "task": make_task().every(3600),
        "jobs": [make_job("01:00", trouble=PodTrouble("ErrImagePull", "no such image", at("01:00:01")))],
        "now": "01:00:46",
        "want": ["failed backup-1767229200 ErrImagePull"],
    },
    "a pod that could not start is ended even if the spec is invalid by now": {
        "task": make_task().cron("61 * * * *"),
        "jobs": [make_job("01:00", trouble=PodTrouble("InvalidImageName", "", at("01:00:01")))],
        "now": "01:10:00",
        "want": ["failed backup-1767229200 InvalidImageName"],
        "want_ready": ("False", "InvalidSchedule"),
    },
}


@pytest.mark.parametrize("case", FIRST_LOOK.values(), ids=FIRST_LOOK.keys())
def test_at_first_sight(case: dict[str, Any]) -> None:
    """Each sentence holds of a task that was created at midnight and that nobody has looked at since."""
    story = Story(case["task"])
    story.jobs = case.get("jobs", [])
    plan = story.turn(case["now"])
    assert did(plan) == case["want"]
    assert ready(plan) == case.get("want_ready", ("True", "Scheduled"))
    if "want_next" in case:
        assert plan.requeue_at == at(case["want_next"])


# jitter


def test_jitter_moves_the_launch_and_leaves_the_slot() -> None:
    """The slot keeps its nominal time, in the Job's name and as the next one."""
    late = jitter_offset(TASK_UID, 40)
    assert timedelta() < late < timedelta(seconds=40)
    story = Story(make_task().cron("* * * * *").with_spec(jitterSeconds=40))
    plan = decide(story.task.observed(), [], at("00:00:59"))
    assert plan.requeue_at == at("00:01:00") + late
    assert plan.status.next_schedule_time == at("00:01:00")
    before = f"{at('00:01:00') + late - timedelta(seconds=1):%H:%M:%S}"
    assert did(story.turn(before)) == []
    plan = story.turn(f"{at('00:01:00') + late:%H:%M:%S}")
    assert did(plan) == ["launch 00:01:00"]
    assert plan.status.next_schedule_time == at("00:02:00")


def test_a_deadline_counts_from_the_launch_that_jitter_wants() -> None:
    """A task that is late by its own jitter is not late."""
    late = jitter_offset(TASK_UID, 3000)
    story = Story(make_task().cron("0 * * * *").with_spec(jitterSeconds=3000, startingDeadlineSeconds=5))
    assert did(story.turn(f"{at('01:00') + late + timedelta(seconds=5):%H:%M:%S}")) == ["launch 01:00:00"]


# bounds


def test_a_completed_task_launches_nothing_more() -> None:
    """Not when slots pass, not when its Jobs go."""
    story = Story(make_task().every(60).with_spec(maxRuns=2))
    story.run("00:01:00", SUCCEEDED)
    assert not completed(story.run("00:02:00", SUCCEEDED)) or story.task.status.runs == 2
    for when in ("00:03:00", "01:00:00"):
        plan = story.turn(when)
        assert (did(plan), completed(plan), plan.requeue_at) == ([], True, None)
    story.jobs = []
    assert did(story.turn("02:00:00")) == []


def test_skipped_slots_do_not_count_as_runs() -> None:
    """Only launches do."""
    story = Story(make_task().every(60).with_spec(maxRuns=2))
    story.turn("00:01:00")
    assert did(story.turn("00:02:00")) == ["skipped 00:02:00 StillActive"]
    story.ends("00:01:00", SUCCEEDED, "00:02:30")
    plan = story.turn("00:03:00")
    assert did(plan) == ["launch 00:03:00"]
    assert completed(plan)


def test_a_raise_of_max_runs_runs_nothing_that_passed_meanwhile() -> None:
    """And says nothing of the slots that were none while the task was completed."""
    story = Story(make_task().every(60).with_spec(maxRuns=1))
    story.run("00:01:00", SUCCEEDED)
    story.turn("00:02:00")
    story.task.edited(maxRuns=2)
    plan = story.turn("01:00:30")
    assert did(plan) == []
    assert not completed(plan)
    assert plan.requeue_at == at("01:01:00")
    assert did(story.turn("01:01:00")) == ["launch 01:01:00"]


def test_a_raise_of_end_at_runs_nothing_that_passed_meanwhile() -> None:
    """Slots count from the edit; there was none between the old end and the edit."""
    story = Story(make_task().every(60).with_spec(endAt="2026-01-01T00:01:30Z"))
    story.run("00:01:00", SUCCEEDED)
    assert completed(story.turn("00:02:00"))
    story.task.edited(endAt="2026-01-01T02:00:00Z")
    plan = story.turn("01:00:30")
    assert did(plan) == []
    assert plan.requeue_at == at("01:01:00")


# Replace


def test_replace_ends_what_is_active_and_launches_when_it_is_gone() -> None:
    """One ends before the other begins: no two are ever active."""
    story = Story(make_task().every(60).with_spec(**REPLACE))
    story.turn("00:01:00")
    assert did(story.turn("00:02:00")) == [f"cancelled {name('00:01:00')} Replaced"]
    assert did(story.turn("00:02:01")) == [], "what is ending is ended once"
    story.ends("00:01:00", CANCELLED, "00:02:02")
    plan = story.turn("00:02:03")
    assert did(plan) == ["launch 00:02:00"]
    assert ready(plan) == ("True", "Scheduled")


def test_a_slot_that_waits_to_replace_is_superseded_by_the_next() -> None:
    """Pods that take their time to end make room for the latest slot alone."""
    story = Story(make_task().every(60).with_spec(**REPLACE))
    story.turn("00:01:00")
    story.turn("00:02:00")
    assert did(story.turn("00:03:00")) == ["missed 00:02:00 SupersededByLaterSlot"]
    story.gone("00:01:00")
    assert did(story.turn("00:03:01")) == ["launch 00:03:00"]


def test_a_slot_that_waits_to_replace_past_its_deadline_is_missed() -> None:
    """The deadline holds for whoever waits."""
    story = Story(make_task().every(60).with_spec(**REPLACE, startingDeadlineSeconds=5))
    story.turn("00:01:00")
    story.turn("00:02:00")
    story.gone("00:01:00")
    assert did(story.turn("00:02:06")) == ["missed 00:02:00 StartingDeadlineExceeded"]


def test_the_last_slot_of_a_task_waits_to_replace() -> None:
    """A task is not completed while a slot of it is owed."""
    story = Story(make_task().every(60).with_spec(**REPLACE, endAt="2026-01-01T00:02:00Z"))
    story.turn("00:01:00")
    assert not completed(story.turn("00:02:00"))
    story.gone("00:01:00")
    plan = story.turn("00:02:05")
    assert did(plan) == ["launch 00:02:00"]
    assert completed(plan)


# the backlog


def test_a_backlog_is_paid_one_after_another_oldest_first() -> None:
    """Each when the one before has ended; then the slots go on."""
    story = Story(make_task().every(60).with_spec(**ALL))
    done = [did(story.turn("00:03:10"))]
    for slot, ends, looks in (("01", "20", "20"), ("02", "30", "30"), ("03", "40", "40")):
        story.ends(f"00:{slot}:00", SUCCEEDED, f"00:03:{ends}")
        done.append(did(story.turn(f"00:03:{looks}")))
    assert done == [["launch 00:01:00"], ["launch 00:02:00"], ["launch 00:03:00"], []]
    assert story.task.status.backlog is None
    assert did(story.turn("00:04:00")) == ["launch 00:04:00"]


def test_a_backlog_is_bounded() -> None:
    """Of 300 the latest 100 are owed; the others have one record."""
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    plan = story.turn("05:00:00")
    record, *launches = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.first_slot, record.slot, record.reason) == (at("00:01"), at("03:20"), "TooManyMissed")
    assert [a.slot for a in launches if isinstance(a, Launch)] == [
        at("03:20") + timedelta(minutes=k + 1) for k in range(MAX_BACKLOG)
    ]


def test_a_slot_on_time_that_finds_the_backlog_running_is_skipped() -> None:
    """Forbid holds for it as for any other."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    assert did(story.turn("00:04:00")) == ["skipped 00:04:00 StillActive"]


def test_a_slot_on_time_does_not_overtake_the_backlog() -> None:
    """Nothing runs at the moment it comes due, for the next that is owed is about to be launched."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:04:00")
    done = [did(story.turn("00:04:00"))]
    for slot in ("02", "03", "04"):
        story.ends(f"00:{slot}:00", SUCCEEDED, "00:04:10")
        done.append([what for what in did(story.turn("00:04:10")) if what.startswith("launch")])
    assert done == [["launch 00:02:00"], ["launch 00:03:00"], ["launch 00:04:00"], []]


def test_a_second_outage_adds_to_the_backlog() -> None:
    """What is still owed and what was missed now are one backlog, if nothing between them is settled."""
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
    """Each is made up for, oldest first; what was settled between them is not launched."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.turn("00:04:00")  # skipped: settled between the two
    done = []
    for slot in ("01", "02", "03", "05", "06"):
        story.ends(f"00:{slot}:00", SUCCEEDED, "00:06:10")
        done.append([what for what in did(story.turn("00:06:10")) if not what.startswith("delete")])
    assert done == [["launch 00:02:00"], ["launch 00:03:00"], ["launch 00:05:00"], ["launch 00:06:00"], []]
    assert story.task.status.backlog is None
    assert did(story.turn("00:07:00")) == ["launch 00:07:00"]


def test_too_many_outages_give_the_oldest_up() -> None:
    """What is owed is bounded: the oldest stretch is recorded as missed, the others stay owed."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:02:10")  # launches 00:01, owes 00:02
    given_up = []
    for minute in range(3, 3 + 3 * MAX_STRETCHES, 3):
        assert did(story.turn(f"00:{minute:02}:00")) == [f"skipped 00:{minute:02}:00 StillActive"]
        given_up += did(story.turn(f"00:{minute + 2:02}:10"))
    assert given_up == ["missed 00:02:00 TooManyMissed"]
    backlog = story.task.status.backlog
    assert backlog is not None
    assert len(backlog.stretches) == MAX_STRETCHES


def test_outages_that_follow_each_other_owe_no_more_than_others() -> None:
    """With no settled slot between them they are one, up to what one may owe; the oldest are given up in order."""
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
    """Return a backlog of stretches, each after one time and until another."""
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
    """A clock that was a year ahead, or somebody's hand, has written it."""
    backlog, want = STRANGE[case]
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    story.task.status = ScheduledTaskStatus(settled_until=at("00:05"), backlog=backlog)
    plan = story.turn("00:05:20")
    assert did(plan) == [f"launch {slot}" for slot in want]
    assert plan.status.runs == len(want)


def test_a_backlog_of_years_ends_in_one_turn() -> None:
    """So much is never owed: the first thousand are launched, the others share a record."""
    story = Story(make_task().every(1).with_spec(**ALL, **ALLOW))
    story.task.status = ScheduledTaskStatus(settled_until=at("20:00"), backlog=owing(("00:00", "20:00")))
    actions = story.turn("20:00").actions
    assert sum(isinstance(action, Launch) for action in actions) == MAX_BACKLOG * MAX_STRETCHES
    assert len(actions) == MAX_BACKLOG * MAX_STRETCHES + 1


@pytest.mark.parametrize("change", ["an edit", "a crash"])
def test_no_stretch_is_lost(change: str) -> None:
    """Given up by an edit each is recorded; after a crash the Jobs that exist pay for theirs."""
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
    """Suspended, nothing is launched; resumed, what was owed is recorded, not run."""
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
    """What the old schedule owed is recorded, not run."""
    story = Story(make_task().every(60).with_spec(**ALL))
    story.turn("00:03:10")
    story.ends("00:01:00", SUCCEEDED, "00:03:20")
    story.task.edited(intervalSeconds=90)
    assert did(story.turn("00:03:30")) == ["missed 00:02:00..00:03:00 ScheduleChanged"]


@pytest.mark.parametrize("lost", ["everything", "since the backlog"])
def test_a_crash_in_the_middle_of_a_backlog_launches_nothing_twice(lost: str) -> None:
    """The Jobs that exist pay for their slots, whatever the status says; each is counted once."""
    story = Story(make_task().every(60).with_spec(**ALL, **ALLOW))
    plan = story.turn("00:05:10")
    story.jobs = story.jobs[:2]  # killed after the second of five
    owing = plan.status.model_copy(update={"backlog": Backlog(after=at("00:00"), until=at("00:05")), "runs": 0})
    story.task.status = ScheduledTaskStatus() if lost == "everything" else owing
    plan = story.turn("00:05:20")
    assert did(plan) == ["launch 00:03:00", "launch 00:04:00", "launch 00:05:00"]
    assert plan.status.runs == 5


@pytest.mark.parametrize("slots", [["00:03:00"], ["00:02:00", "00:03:00"]])
def test_what_a_launch_overtook_is_recorded_though_the_status_was_lost(slots: list[str]) -> None:
    """Killed between the Job and the status: the Job settles its slot, and those before it are not forgotten."""
    story = Story(make_task().every(60))
    story.jobs = [make_job(slot) for slot in slots]
    earlier = "00:01:00..00:02:00" if len(slots) == 1 else "00:01:00"
    assert did(story.turn("00:03:10")) == [f"missed {earlier} SupersededByLaterSlot"]


def test_what_a_backlog_passed_over_is_recorded_though_the_status_was_lost() -> None:
    """A slot of the backlog that missed its deadline, before one that was launched."""
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


# edits and resumes


def test_a_resume_before_the_suspension_was_seen_is_none() -> None:
    """What nobody saw is not a suspension: the slots were missed."""
    story = Story(make_task().every(60))
    story.turn("00:00:10")
    story.task.suspended()
    story.task.suspended(yes=False)
    assert did(story.turn("00:02:00")) == ["missed 00:01:00 SupersededByLaterSlot", "launch 00:02:00"]


def test_an_edit_while_suspended_runs_nothing() -> None:
    """The slots of the old schedule up to the edit are recorded as suspended, those of the new one follow it."""
    story = Story(make_task().every(60).suspended())
    story.turn("00:00:10")
    story.task.edited(intervalSeconds=90)
    assert did(story.turn("00:02:10")) == ["skipped 00:01:00..00:02:00 Suspended"]
    story.task.suspended(yes=False)
    assert did(story.turn("00:04:40")) == ["skipped 00:03:00..00:04:30 Suspended"]


def test_a_calendar_that_this_release_cannot_read_has_no_slots() -> None:
    """An older status speaks of a zone that is gone: the edit counts, no record is made up."""
    story = Story(make_task().cron("* * * * *", "Europe/Berlin"))
    story.turn("00:00:10")
    calendar = story.task.status.calendar
    assert calendar is not None
    gone = calendar.model_copy(update={"time_zone": "Europe/Atlantis"})
    story.task.status = story.task.status.model_copy(update={"calendar": gone})
    assert did(story.turn("00:02:10")) == []


def test_a_completed_task_that_is_resumed_has_missed_nothing() -> None:
    """After maxRuns there are no slots to skip."""
    story = Story(make_task().every(60).with_spec(maxRuns=1))
    story.run("00:01:00", SUCCEEDED)
    story.turn("00:01:30")
    story.task.suspended()
    story.turn("00:02:30")
    story.task.suspended(yes=False)
    assert did(story.turn("00:09:30")) == []


# what is still to be recorded


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
    """Fifty entries; the oldest stand for every slot from the first to the last of them."""
    status = ScheduledTaskStatus()
    for minute in range(MAX_ENTRIES + 10):
        status = with_unrecorded(status, entry(minute))
    spans = [span(e) for e in status.unrecorded]
    assert len(spans) == MAX_ENTRIES
    assert spans[:2] == [(0, 10), (11, 11)]


def test_entries_of_one_reason_are_merged_first() -> None:
    """A run of one reason tells more than one of two."""
    status = with_unrecorded(ScheduledTaskStatus(), entry(0, "StartingDeadlineExceeded"))
    for minute in range(1, MAX_ENTRIES + 1):
        status = with_unrecorded(status, entry(minute))
    assert [span(e) for e in status.unrecorded][:2] == [(0, 0), (1, 2)]


def test_entries_of_two_reasons_are_merged_if_no_others_are_left() -> None:
    """Space is bounded, whatever the reasons."""
    status = ScheduledTaskStatus()
    for minute in range(MAX_ENTRIES + 1):
        status = with_unrecorded(status, entry(minute, f"Reason{minute % 2}"))
    assert [span(e) for e in status.unrecorded][:2] == [(0, 1), (2, 2)]


def test_a_run_that_is_recorded_late_is_merged_in_its_place() -> None:
    """What a backlog owed is recorded after what came later: a run begins before it ends all the same."""
    status = ScheduledTaskStatus()
    for minute in [*range(10, 10 + MAX_ENTRIES), 3, 4]:
        status = with_unrecorded(status, entry(minute))
    spans = [span(e) for e in status.unrecorded]
    assert spans[0] == (3, 10)
    assert all(first <= last for first, last in spans)


def test_what_the_history_has_leaves_the_status() -> None:
    """And only that."""
    story = Story(make_task().every(60))
    plan = story.turn("00:03:10")
    first, second = (a for a in plan.actions if isinstance(a, RecordUnlaunched))
    left = without_recorded(plan.status, TASK_UID, {first.execution_id})
    assert [e.slot for e in left.unrecorded] == [second.slot]
    assert without_recorded(left, TASK_UID, set()) is left


# the circuit


def broken(**more: Any) -> Story:
    """Return a story whose circuit has opened: two failures, at 00:01:05 and 00:02:05."""
    story = Story(make_task().every(60).with_spec(suspendAfterFailures=2, **more))
    story.run("00:01:00", FAILED)
    story.run("00:02:00", FAILED)
    return story


def test_failures_in_a_row_open_the_circuit() -> None:
    """The next slot is skipped, the task is not ready."""
    story = broken()
    plan = story.turn("00:03:00")
    assert did(plan)[:1] == ["skipped 00:03:00 CircuitOpen"]
    assert ready(plan) == ("False", "CircuitOpen")
    assert plan.status.consecutive_failures == 2


def test_without_a_cooldown_the_circuit_stays_open() -> None:
    """For as long as nobody does anything about it."""
    story = broken()
    story.turn("00:02:06")
    assert did(story.turn("23:59:00"))[-1] == "skipped 23:59:00 CircuitOpen"


def test_after_the_cooldown_one_slot_is_on_trial() -> None:
    """Its success closes the circuit."""
    story = broken(cooldownSeconds=100, **ALLOW)
    assert did(story.turn("00:03:00"))[:1] == ["skipped 00:03:00 CircuitOpen"]
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]
    assert did(story.turn("00:05:00")) == ["skipped 00:05:00 CircuitOpen"], "one is on trial, no more"
    story.ends("00:04:00", SUCCEEDED, "00:05:30")
    plan = story.turn("00:06:00")
    assert did(plan)[:1] == ["launch 00:06:00"]
    assert ready(plan) == ("True", "Scheduled")
    assert plan.status.consecutive_failures == 0


def test_a_trial_that_fails_opens_the_circuit_anew() -> None:
    """For as long again, counted from its end."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.run("00:04:00", FAILED)
    assert did(story.turn("00:05:00"))[:1] == ["skipped 00:05:00 CircuitOpen"]
    assert story.task.status.circuit_opened_at == at("00:04:05")
    assert did(story.turn("00:06:00"))[:1] == ["launch 00:06:00"]


@pytest.mark.parametrize("end", ["cancelled", "gone"])
def test_a_trial_without_a_result_is_followed_by_another(end: str) -> None:
    """Cancelled, or its Job deleted while no operator watched: the circuit is not stuck for ever."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.turn("00:04:00")
    if end == "gone":
        story.gone("00:04:00")
    else:
        story.ends("00:04:00", CANCELLED, "00:04:30")
    assert did(story.turn("00:05:00"))[:1] == ["launch 00:05:00"]


def test_an_edit_closes_the_circuit() -> None:
    """Whoever changes the spec may have mended it."""
    story = broken()
    story.turn("00:03:00")
    story.task.edited(task={"sum": {"a": 2, "b": 2}})
    plan = story.turn("00:04:00")
    assert did(plan)[:1] == ["launch 00:04:00"]
    assert ready(plan) == ("True", "Scheduled")


def test_a_requested_run_that_succeeds_closes_the_circuit() -> None:
    """It shows that the task works again."""
    story = broken()
    story.turn("00:03:00")
    story.jobs.append(make_manual_job("00:03:20", result=SUCCEEDED))
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]


def test_a_requested_run_of_the_trials_instant_is_not_the_trial() -> None:
    """Its failure says nothing about the slot on trial."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.turn("00:04:00")
    story.jobs.append(make_manual_job("00:04:00", result=FAILED))
    assert story.turn("00:04:10").status.trial_slot == at("00:04:00")


def test_a_success_in_between_keeps_the_circuit_closed() -> None:
    """Failures count only in a row."""
    story = Story(make_task().every(60).with_spec(suspendAfterFailures=2))
    for slot, result in (("00:01:00", FAILED), ("00:02:00", SUCCEEDED), ("00:03:00", FAILED)):
        story.run(slot, result)
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]


# retention


def kept(story: Story) -> list[str]:
    """Return the slots of the Jobs that are left."""
    return [f"{j.slot:%H:%M}" for j in sorted(story.jobs, key=lambda j: j.slot)]


def settled(task: TaskBuilder, until: str) -> Story:
    """Return a story whose stored status settles everything up to a time."""
    story = Story(task)
    story.task.status = ScheduledTaskStatus(settled_until=at(until), counted_until=at(until))
    return story


def test_jobs_beyond_the_history_limits_are_deleted_oldest_first() -> None:
    """Those that succeeded and those that did not have a limit each."""
    limits = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}
    story = settled(make_task().every(3600).with_spec(**limits), "00:10")
    ends = (FAILED, SUCCEEDED, CANCELLED, SUCCEEDED)
    story.jobs = [make_job(f"00:0{k}", result=result) for k, result in enumerate(ends, 1)]
    assert did(story.turn("00:20")) == [f"delete {name('00:01')}", f"delete {name('00:02')}"]
    assert kept(story) == ["00:03", "00:04"]


def test_a_job_is_deleted_when_its_time_to_live_is_over() -> None:
    """Even within the limits; the next decision is due when the next Job's is."""
    story = settled(make_task().every(3600).with_spec(ttlSecondsAfterFinished=60), "00:10")
    story.jobs = [make_job("00:01", result=SUCCEEDED), make_job("00:02", result=SUCCEEDED), make_job("00:03")]
    plan = story.turn("00:02:10")
    assert did(plan) == [f"delete {name('00:01')}"]
    assert plan.requeue_at == at("00:03:05")


def test_a_job_that_its_queue_took_back_is_deleted() -> None:
    """Within the limits, for it would be begun again; once the stored status has its slot and its result."""
    story = settled(make_task().every(3600), "00:10")
    story.jobs = [taken_back(make_job("00:01", result=FAILED)), make_job("00:02", result=FAILED)]
    assert did(story.turn("00:02:10")) == [f"delete {name('00:01')}"]
    story = settled(make_task().every(3600), "00:00")
    story.jobs = [taken_back(make_job("00:01", result=FAILED))]
    assert "delete" not in " ".join(did(story.turn("00:02:10")))


def test_a_suspended_task_still_cleans_up() -> None:
    """What is finished does not wait for a resume."""
    story = settled(make_task().every(3600).suspended().with_spec(ttlSecondsAfterFinished=60), "00:10")
    story.jobs = [make_job("00:01", result=SUCCEEDED), make_job("00:02", result=SUCCEEDED)]
    plan = story.turn("00:02:10")
    assert did(plan) == [f"delete {name('00:01')}"]
    assert plan.requeue_at == at("00:03:05")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ({}, "nothing is settled"),
        ({"settled_until": "00:00:30"}, "its slot is not settled"),
        ({"settled_until": "00:10", "backlog": ("00:00", "00:02")}, "its slot is still owed"),
    ],
)
def test_no_job_is_deleted_before_the_stored_status_settles_its_slot(stored: dict[str, Any], why: str) -> None:
    """Until then the Job is what keeps a restarted operator from launching the slot again."""
    status: dict[str, Any] = {k: at(v) for k, v in stored.items() if k == "settled_until"}
    if "backlog" in stored:
        after, until = stored["backlog"]
        status["backlog"] = Backlog(after=at(after), until=at(until))
    task = make_task().every(3600).with_spec(successfulJobsHistoryLimit=0)
    observed = task.observed(ScheduledTaskStatus(settled_until=at("00:10")), ScheduledTaskStatus(**status))
    assert decide(observed, [make_job("00:01", result=SUCCEEDED)], at("00:20")).actions == (), why


def test_a_job_that_is_being_deleted_is_not_deleted_again() -> None:
    """Nor one that is active, nor a request's: that goes with its request."""
    story = settled(make_task().every(3600).with_spec(successfulJobsHistoryLimit=0), "00:10")
    story.jobs = [
        make_job("00:01", result=SUCCEEDED, ending=True),
        make_job("00:02"),
        make_manual_job("00:03", result=SUCCEEDED),
    ]
    assert did(story.turn("00:20")) == []


# the target, mended


def test_a_target_that_is_mended_makes_the_task_ready() -> None:
    """At once, and the next slot runs."""
    story = Story(make_task().every(60).calling())
    story.turn("00:01:00")
    story.task.calling(target=TARGET)
    plan = story.turn("00:01:30")
    assert (did(plan), ready(plan)) == ([], ("True", "Scheduled"))
    assert did(story.turn("00:02:00")) == ["launch 00:02:00"]


def test_a_missing_target_is_announced_once() -> None:
    """Each slot has its Event; that the task is not ready has one."""
    story = Story(make_task().every(60).calling())
    assert [n.reason for n in story.turn("00:00:10").notices] == ["TargetNotFound"]
    assert story.turn("00:00:20").notices == ()


def test_a_clock_a_little_behind_runs_nothing_twice() -> None:
    """Stepped back by less than a minute: what was settled stays settled, though its Job is gone."""
    story = Story(make_task().every(10))
    story.run("00:01:00", SUCCEEDED)
    story.jobs = []
    for when in ("00:00:10", "00:00:50", "00:01:05"):
        plan = story.turn(when)
        assert did(plan) == []
        assert plan.requeue_at == at("00:01:10")


def test_the_year_after_is_not_a_surprise() -> None:
    """An interval of a second, resumed after a year: one record, whatever the number."""
    story = Story(make_task().every(1).suspended())
    story.turn("00:00:10")
    story.task.suspended(yes=False)
    later = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
    plan = decide(story.task.observed(), [], later)
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.first_slot, record.slot) == (at("00:00:01"), later)
