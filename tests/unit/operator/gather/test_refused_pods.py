"""Jobs whose pods the API server refuses: what their Events say, how long that is borne, and who looks, how often."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.decide_request import decide_request
from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.stuck import next_look
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.pod_trouble import PodRefusal, PodTrouble, has_had_pod, pod_refusal, refused_pod
from carillon_core.errors import ForbiddenError, UnavailableError
from carillon_core.ports import JobEvent
from carillon_core.resources import RunResult
from carillon_operator.gather.refused_pods import RefusedPods
from support.builders import (
    Story,
    at,
    decide_to_fixed_point,
    make_job,
    make_manual_job,
    make_request,
    make_task,
    request_to_fixed_point,
)
from support.operator import KEY, Operator, running
from support.waiting import eventually

NO_ACCOUNT = 'error looking up service account default/absent: serviceaccount "absent" not found'
NO_ROOM = "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
FULL = "exceeded quota: none, requested: pods=1, used: pods=3, limited: pods=3"
UNCOUNTED = "status unknown for quota: none, resources: pods"


def forbidden(why: str, pod: str = "backup-1767229200-x7k2p") -> str:
    """Return the words in which the Job controller says that admission refused a pod."""
    return f'Error creating: pods "{pod}" is forbidden: {why}'


def refusal(message: str, first: str, last: str | None = None) -> PodRefusal:
    """Return what an Event says, of an hour that does not matter."""
    return PodRefusal(message, at(f"01:{first}"), at(f"01:{last or first}"))


COMBINED = "(combined from similar events): "
REFUSED: dict[str, dict[str, Any]] = {
    "nothing is known without Events": {"given": [], "want": None},
    "the words of the last try count, the time of the first": {
        "given": [refusal(forbidden(NO_ACCOUNT, "b"), "00:03"), refusal(forbidden(NO_ACCOUNT, "a"), "00:01")],
        "want": (NO_ACCOUNT, "01:00:01", False),
    },
    "a pod that is invalid is named no more than one that is forbidden": {
        "given": [refusal('Error creating: Pod "backup-x7k2p" is invalid: spec.containers: Required value', "00:01")],
        "want": ("spec.containers: Required value", "01:00:01", False),
    },
    "what a webhook says is left as it is": {
        "given": [refusal('Error creating: admission webhook "a.b" denied the request: no', "00:01", "00:31")],
        "want": ('admission webhook "a.b" denied the request: no', "01:00:01", False),
    },
    "a quota that is exceeded is waited for": {
        "given": [refusal(forbidden(NO_ROOM), "00:01")],
        "want": (NO_ROOM, "01:00:01", True),
    },
    "so is one that is not counted yet": {
        "given": [refusal(forbidden(UNCOUNTED), "00:01")],
        "want": (UNCOUNTED, "01:00:01", True),
    },
    "a quota that wants limits is no want of room": {
        "given": [refusal(forbidden("failed quota: none: must specify limits.cpu for: task"), "00:01")],
        "want": ("failed quota: none: must specify limits.cpu for: task", "01:00:01", False),
    },
    "a webhook that speaks of quotas is a webhook": {
        "given": [refusal(f'Error creating: admission webhook "a.b" denied the request: {NO_ROOM}', "00:01")],
        "want": (f'admission webhook "a.b" denied the request: {NO_ROOM}', "01:00:01", False),
    },
    "a wait for room counts for nothing once something else is wrong": {
        "given": [refusal(forbidden(NO_ROOM), "00:01", "20:00"), refusal(forbidden(NO_ACCOUNT), "21:00")],
        "want": (NO_ACCOUNT, "01:21:00", False),
    },
    "something else that was wrong before, in the same words, counts for nothing": {
        "given": [refusal(forbidden(NO_ACCOUNT), "00:01", "21:00"), refusal(forbidden(NO_ROOM), "00:03", "20:00")],
        "want": (NO_ACCOUNT, "01:20:00", False),
    },
    "what was wrong is forgotten once only room is missing": {
        "given": [refusal(forbidden(NO_ACCOUNT), "00:01", "00:07"), refusal(forbidden(FULL), "00:15")],
        "want": (FULL, "01:00:15", True),
    },
    "an Event that stands for many has the words of the last and lasts no longer than that": {
        "given": [refusal(COMBINED + forbidden(NO_ACCOUNT), "00:01", "21:00")],
        "want": (NO_ACCOUNT, "01:21:00", False),
    },
    "what was known before has not begun anew": {
        "given": [refusal(COMBINED + forbidden(NO_ACCOUNT), "00:01", "21:00")],
        "known": PodTrouble("FailedCreate", "webhook", at("01:10:00")),
        "want": (NO_ACCOUNT, "01:10:00", False),
    },
    "what was known before of want of room is another matter": {
        "given": [refusal(COMBINED + forbidden(NO_ACCOUNT), "00:01", "21:00")],
        "known": PodTrouble("FailedCreate", FULL, at("01:10:00"), waits=True),
        "want": (NO_ACCOUNT, "01:21:00", False),
    },
    "tries before its queue let it begin count no more": {
        "given": [refusal(forbidden(NO_ACCOUNT), "00:01", "15:00")],
        "begun": "01:14:00",
        "want": (NO_ACCOUNT, "01:14:00", False),
    },
    "nor do they tell why there is no pod now": {
        "given": [refusal(forbidden(NO_ACCOUNT), "00:01", "13:00")],
        "begun": "01:14:00",
        "want": None,
    },
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_events_tell_why_a_pod_is_refused(case: dict[str, Any]) -> None:
    """Why, since when, and whether it is worth waiting for."""
    now = at("01:30:00")
    found = refused_pod(case["given"], at(case.get("begun", "01:00:00")), now, case.get("known"))
    if case["want"] is None:
        assert found is None
        return
    message, since, waits = case["want"]
    assert found == PodTrouble("FailedCreate", message, at(since), waits=waits, seen_at=now)


def test_the_times_of_an_event_are_those_of_either_api() -> None:
    """The older one says first and last; the newer one when, and how it went on; at worst there is its creation."""
    meta = {"creationTimestamp": "2026-01-01T01:00:05Z"}
    old = {"metadata": meta, "firstTimestamp": "2026-01-01T01:00:01Z", "lastTimestamp": "2026-01-01T01:00:09Z"}
    assert pod_refusal({**old, "message": "m"}) == PodRefusal("m", at("01:00:01"), at("01:00:09"))
    series = {"count": 2, "lastObservedTime": "2026-01-01T01:00:07.250000Z"}
    new = {"metadata": meta, "eventTime": "2026-01-01T01:00:02.500000Z", "firstTimestamp": None, "series": series}
    assert pod_refusal(new) == PodRefusal("", at("01:00:02"), at("01:00:07"))
    assert pod_refusal({"metadata": meta, "message": "m"}) == PodRefusal("m", at("01:00:05"), at("01:00:05"))
    assert pod_refusal({"metadata": {}, "firstTimestamp": "yesterday"}) is None


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ({}, False),
        ({"active": 0, "ready": 0, "startTime": "2026-01-01T01:00:00Z"}, False),
        ({"active": 1}, True),
        ({"failed": 1}, True),
        ({"terminating": 1}, True),
        ({"uncountedTerminatedPods": {}}, False),
        ({"uncountedTerminatedPods": {"failed": ["a"]}}, True),
    ],
)
def test_a_jobs_own_status_tells_of_pods(status: dict[str, Any], want: bool) -> None:  # noqa: FBT001  # a table's column
    """Of those that are gone too, which no list shows any more."""
    assert has_had_pod({"status": status}) is want


# what is decided


def trouble(message: str = NO_ACCOUNT, seen: str = "01:00:10", *, waits: bool = False) -> PodTrouble:
    """Return what was found of the Job of one o'clock."""
    return PodTrouble("FailedCreate", message, at("01:00:01"), waits, at(seen))


DECIDED: dict[str, dict[str, Any]] = {
    "a pod that is refused is given time": {
        "trouble": trouble(),
        "now": "01:00:45",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that was refused for too long is not given up without another look": {
        "trouble": trouble(seen="01:00:45"),
        "now": "01:00:50",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that is still refused then is given up": {
        "trouble": trouble(seen="01:00:46"),
        "now": "01:00:50",
        "want": "FailedCreate",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that waits for room is left to its deadline": {
        "trouble": trouble(NO_ROOM, "01:50:00", waits=True),
        "now": "01:50:00",
        "want_message": f"its pod is waiting for quota: FailedCreate: {NO_ROOM}",
        "want_notice": f"backup-1767229200 waits: its pod is waiting for quota: FailedCreate: {NO_ROOM}",
    },
}


@pytest.mark.parametrize("case", DECIDED.values(), ids=DECIDED.keys())
def test_an_execution_without_a_pod(case: dict[str, Any]) -> None:
    """What is done about a slot's execution, what its task's status says, and which Event is posted, once."""
    story = Story(make_task().every(3600))
    story.jobs = [make_job("01:00", trouble=case["trouble"])]
    plan = story.turn(case["now"])
    ends = [a for a in plan.actions if isinstance(a, EndExecution)]
    assert [e.reason for e in ends] == ([case["want"]] if "want" in case else [])
    last = plan.status.last_execution
    assert last is not None
    assert (last.result, last.message) == (RunResult.RUNNING, case["want_message"])
    wanted = [case["want_notice"]] if "want_notice" in case else [e.message for e in ends]
    assert [n.message for n in plan.notices if n.reason == "PodCannotStart"] == wanted


def test_figures_of_a_quota_that_change_are_shown_and_not_announced_anew() -> None:
    """Others come and go; the Event would be a new one each time."""
    story = Story(make_task().every(3600))
    for message, want in ((NO_ROOM, 1), (FULL, 0)):
        story.jobs = [make_job("01:00", trouble=trouble(message, waits=True))]
        plan = story.turn("01:01:00")
        assert plan.status.last_execution is not None
        assert message in plan.status.last_execution.message
        assert len(plan.notices) == want


def test_a_slot_that_is_skipped_says_what_the_one_before_waits_for() -> None:
    """Who reads of the skip need not look further."""
    story = Story(make_task().every(60).with_spec(startAt="2026-01-01T01:00:00Z"))
    story.turn("01:00:00")
    story.jobs = [make_job("01:00", trouble=trouble(NO_ROOM, waits=True))]
    plan = story.turn("01:01:00")
    assert plan.status.last_skip is not None
    assert f"is still active (its pod is waiting for quota: FailedCreate: {NO_ROOM})" in plan.status.last_skip.message


def test_a_request_whose_pod_is_refused_says_so() -> None:
    """In its status and, if it waits for room, in an Event; it ends as a slot's execution does."""
    request, task = make_request(), make_task().every(3600)
    job = make_manual_job("00:10:00", trouble=PodTrouble("FailedCreate", NO_ROOM, at("00:10:01"), waits=True))
    plan = request_to_fixed_point(request, task, [job], "00:20:00")
    assert plan.status.message == f"its pod is waiting for quota: FailedCreate: {NO_ROOM}"
    assert [str(n.reason) for n in plan.notices] == ["PodCannotStart"]
    job = make_manual_job(
        "00:10:00", trouble=PodTrouble("FailedCreate", NO_ACCOUNT, at("00:10:01"), seen_at=at("00:21:00"))
    )
    plan = decide_request(request.observed(), task.observed(), [job], at("00:21:00"))
    assert [a.reason for a in plan.actions if isinstance(a, EndExecution)] == ["FailedCreate"]


def test_an_end_by_the_deadline_says_what_the_execution_waited_for() -> None:
    """That it took too long is not why."""
    builder = make_task().every(3600)
    plan = decide_to_fixed_point(builder, [], at("01:00:00"))
    assert plan.actions
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    meta = {
        "name": "backup-1767229200",
        "namespace": "default",
        "uid": "job",
        "creationTimestamp": "2026-01-01T01:00:00Z",
        "labels": {"carillon.dev/task": "backup", "carillon.dev/task-uid": builder.raw["metadata"]["uid"]},
        "annotations": {"carillon.dev/slot": "2026-01-01T01:00:00Z"},
        "ownerReferences": [
            {
                "kind": "ScheduledTask",
                "name": "backup",
                "uid": builder.raw["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    job = observed_job({"metadata": meta, "status": {"conditions": [failed]}}, (), trouble(NO_ROOM, waits=True))
    assert job is not None
    assert job.result is RunResult.TIMED_OUT
    assert job.message == f"too long: its pod is waiting for quota: FailedCreate: {NO_ROOM}"


@pytest.mark.parametrize(
    ("known", "now", "want"),
    [
        (None, "01:00:00", "01:00:10"),
        (None, "01:00:10", "01:00:25"),
        (None, "01:00:40", "01:01:20"),
        (None, "01:20:00", "01:21:00"),
        (trouble(), "01:00:10", "01:00:46"),
        (trouble(), "01:00:40", "01:00:55"),
        (trouble(), "01:00:46", "01:01:32"),
        (trouble(NO_ROOM, waits=True), "01:00:10", "01:00:25"),
        (trouble(NO_ROOM, waits=True), "01:30:00", "01:31:00"),
    ],
)
def test_it_is_looked_again_ever_more_rarely(known: PodTrouble | None, now: str, want: str) -> None:
    """First when a Job is old enough, and once more when it is to be given up; never sooner than after 15 s."""
    job = make_job("01:00", trouble=known, admitted_at=at("01:00:00"))
    assert next_look(job, at(now)) == at(want)


# who looks

HELD = {"type": "Suspended", "status": "True"}


@pytest.fixture
def operator() -> Operator:
    """An operator that has seen nothing yet."""
    return Operator()


async def launch(operator: Operator) -> str:
    """Let the slot of one minute past midnight be launched; return its Job's name."""
    await operator.create_task(intervalSeconds=60)
    await operator.turn("00:01:00")
    await operator.see()
    (name,) = operator.job_names()
    return name


async def look(operator: Operator, when: str) -> None:
    """Look at the namespace, and let what is found be decided about."""
    operator.now = at(when)
    await operator.term.refused_pods.look(KEY[0])
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()


async def last_execution(operator: Operator) -> tuple[str, str]:
    """Return result and message of the task's last execution, as the API server has them."""
    last = (await operator.cluster.tasks.get(*KEY))["status"]["lastExecution"]
    return last["result"], last.get("message", "")


async def test_a_refused_pod_is_found_shown_and_its_execution_ended(operator: Operator) -> None:
    """The row has the reason, and so has the status when the Job is gone; the next slot is launched."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:09")
    assert operator.cluster.looks == [], "the Job is too young to be looked into"
    await look(operator, "00:01:10")
    assert await last_execution(operator) == ("Running", f"its pod cannot start: FailedCreate: {NO_ACCOUNT}")
    assert operator.rows() == []
    job = operator.app.store.jobs.get(KEY[0], name)
    assert job is not None
    assert job.admitted_at == at("00:01:00"), "the Job is still known to be as old as it is"
    await look(operator, "00:01:45")
    assert operator.rows() == [("00:01:00", "failed", "FailedCreate")]
    job = operator.app.store.jobs.get(KEY[0], name)
    assert job is not None
    assert job.finished_at == at("00:01:45"), "results are counted in the order in which they came"
    await operator.see()
    await operator.turn("00:01:46")
    result, message = await last_execution(operator)
    assert result == "Failed"
    assert NO_ACCOUNT in message
    await operator.turn("00:02:00")
    assert len(operator.job_names()) == 2
    assert operator.rows() == [("00:01:00", "failed", "FailedCreate")]


async def test_an_end_between_two_seconds_is_written_and_counted_once(operator: Operator) -> None:
    """A status keeps whole seconds: what is decided is what is stored, or it would be written again and again."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.now = at("00:01:45") + timedelta(microseconds=500_000)
    await operator.term.refused_pods.look(KEY[0])
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    await operator.see()
    await operator.turn("00:01:47")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status == task.stored
    assert (task.status.consecutive_failures, task.status.counted_until) == (1, at("00:01:45"))


async def test_failures_of_this_kind_open_the_circuit(operator: Operator) -> None:
    """A task that can never start is not tried for ever."""
    await operator.create_task(intervalSeconds=60, suspendAfterFailures=1)
    await operator.turn("00:01:00")
    await operator.see()
    operator.cluster.refuse_pod(KEY[0], operator.job_names()[0], NO_ACCOUNT)
    await look(operator, "00:01:45")
    await operator.see()
    await operator.turn("00:01:50")
    await operator.turn("00:02:00")
    assert operator.rows()[1:] == [("00:02:00", "skipped", "CircuitOpen")]


async def test_an_execution_that_waits_for_room_is_shown_and_runs_when_there_is_some(operator: Operator) -> None:
    """However long it takes, within its deadline; then nothing is said of it any more."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ROOM)
    for when in ("00:01:10", "00:01:45", "00:01:59"):
        await look(operator, when)
        assert await last_execution(operator) == ("Running", f"its pod is waiting for quota: FailedCreate: {NO_ROOM}")
    assert operator.rows() == []
    operator.cluster.start_pod(KEY[0], name)
    await operator.turn("00:01:59")
    assert await last_execution(operator) == ("Running", "")
    await look(operator, "00:10:00")
    assert len(operator.cluster.looks) == 3, "a Job that has a pod is looked into no more"


async def test_a_job_whose_pod_no_watch_has_shown_is_not_ended(operator: Operator) -> None:
    """Before the end the API server is asked once more, for a watch may lag."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.cluster.start_pod(KEY[0], name)
    await look(operator, "00:01:45")
    assert operator.rows() == []
    assert "deletionTimestamp" not in operator.cluster.jobs[KEY[0], name]["metadata"]
    assert await last_execution(operator) == ("Running", "")


async def test_a_pod_that_came_between_two_looks_clears_what_was_found(operator: Operator) -> None:
    """Also one that is gone again before the patience is over."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.now = at("00:01:20")
    pod = operator.cluster.start_pod(KEY[0], name)
    await operator.see()
    for change in ("MODIFIED", "DELETED"):
        list(operator.app.store.jobs.changes(JobEvent(change, "Pod", pod)))
    await look(operator, "00:02:30")
    assert operator.rows() == [("00:02:00", "skipped", "StillActive")]
    assert len(operator.cluster.looks) == 1


async def test_a_job_that_waits_in_a_queue_is_not_looked_into(operator: Operator) -> None:
    """It has no pod by right."""
    await operator.create_task(intervalSeconds=60, queueName="nightly")
    await operator.turn("00:01:00")
    await operator.see()
    await look(operator, "00:01:30")
    assert operator.cluster.looks == []


async def test_a_job_that_its_queue_has_just_let_go_is_not_looked_into_yet(operator: Operator) -> None:
    """Before the Job controller begins it, it is as old as its creation, and what was found before counts no more."""
    await operator.create_task(intervalSeconds=60)
    await operator.turn("00:01:00")
    await operator.see()
    raw = await operator.cluster.get_job(KEY[0], operator.job_names()[0])
    store = operator.app.store
    store.jobs.put({**raw, "spec": {**raw["spec"], "suspend": False}, "status": {"conditions": [HELD]}})
    assert store.jobs.namespaces_without_pods() == set()
    change = store.jobs.put({**raw, "status": {"conditions": [{**HELD, "status": "False"}]}})
    assert change is not None
    assert change.after is not None
    store.jobs.refuse_pod(change.after, PodTrouble("FailedCreate", NO_ACCOUNT, at("00:01:00")))
    change = store.jobs.put({**raw, "spec": {**raw["spec"], "suspend": True}})
    assert change is not None
    assert change.after is not None
    assert change.after.trouble is None


async def test_many_jobs_of_a_namespace_cost_one_look(operator: Operator) -> None:
    """Whether they are ten or a thousand."""
    await operator.create_task(intervalSeconds=1, concurrencyPolicy="Allow")
    for k in range(1, 11):
        await operator.turn(at("00:00:00") + timedelta(seconds=k))
    await operator.see()
    for name in operator.job_names():
        operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:00:25")
    assert operator.cluster.looks == [(KEY[0], 10)]
    shown = [job.trouble is not None for job in operator.app.store.jobs.under(KEY)]
    assert shown.count(True) == 10


async def test_looking_begins_with_a_job_and_goes_on_by_itself(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process asks when a Job is old enough, again after a failure, and nothing where every Job has its pod."""
    monkeypatch.setattr("carillon_operator.state.work_queue.MAX_SLEEP_SECONDS", 0.01)  # the test sets the clock
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    operator.now = at("00:01:10")
    operator.cluster.outage = "connection refused"
    looking = operator.term.refused_pods
    async with running(_all(looking)):
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:01:25"))
        assert operator.cluster.looks == [], "it could not be asked"
        operator.cluster.outage = None
        operator.now = at("00:01:25")
        await eventually(lambda: operator.cluster.looks == [(KEY[0], 1)], 20)
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:01:45"))
        operator.cluster.start_pod(KEY[0], name)
        await operator.see()
        operator.now = at("00:01:45")
        await eventually(lambda: looking.due_time(KEY[0]) is None, 20)
    assert operator.cluster.looks == [(KEY[0], 1)]


async def test_events_that_may_not_be_read_stop_nothing(
    operator: Operator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older role lacks the right: it is said once, with the mend, and asked again after minutes."""
    monkeypatch.setattr("carillon_operator.state.work_queue.MAX_SLEEP_SECONDS", 0.01)  # the test sets the clock
    await launch(operator)
    operator.now = at("00:01:10")
    operator.cluster.forbidden.add(KEY[0])
    looking = operator.term.refused_pods
    async with running(_all(looking)):
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:06:10"))
        for _, job in operator.app.store.jobs.without_pod(KEY[0]):
            looking.expect(job)
        assert looking.due_time(KEY[0]) == at("00:06:10"), "another Job does not have it asked sooner"
        operator.now = at("00:06:10")
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:11:10"))
    assert [r.levelname for r in caplog.records if "why pods are refused" in r.message] == ["WARNING"]
    with pytest.raises(ForbiddenError):
        await looking.look(KEY[0])


async def test_a_look_that_fails_decides_nothing(operator: Operator) -> None:
    """What was found before stays, and is too old to end anything."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.cluster.outage = "connection refused"
    operator.now = at("00:01:50")
    with pytest.raises(UnavailableError):
        await operator.term.refused_pods.look(KEY[0])
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert decide(task, operator.app.store.jobs.under(KEY), operator.now).actions == ()


async def _all(looking: RefusedPods) -> None:
    await asyncio.gather(*looking.processes())
