"""Invalid combinations of the task's, the operator's and the runner's resources are found before the launch."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.decide_request import decide_request
from carillon_core.domain.decision.plan import Launch, RecordUnlaunched
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.validity.pod_validity import amount, pod_problems
from carillon_core.domain.validity.review import review_of
from carillon_core.errors import InvalidResourceError, SettingsError
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, ScheduledTaskStatus, parse_spec
from carillon_operator.settings import Settings
from support.builders import at, make_request, make_task
from support.pod_cases import CASES, NONE, defaults

NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}


def spec_of(resources: dict[str, Any] | None = None, task: dict[str, Any] | None = None) -> ScheduledTaskSpec:
    """Return a task's spec with these resources for its pods."""
    raw = {"intervalSeconds": 60, "task": task or {"counter": {}}, "pod": {"resources": resources or {}}}
    return parse_spec(raw, strict=True)


@pytest.mark.parametrize(
    ("quantity", "want"),
    {
        "2": 2,
        "+0.5": Fraction(1, 2),
        ".5": Fraction(1, 2),
        "1.": 1,
        "500m": Fraction(1, 2),
        "256Mi": 2**28,
        "1.5Gi": 3 * 2**29,
        "1Ei": 2**60,
        "3k": 3000,
        "1E": 10**18,
        "1e3": 1000,
        "5E-1": Fraction(1, 2),
        "7n": Fraction(7, 10**9),
    }.items(),
)
def test_a_quantity_is_the_number_that_kubernetes_reads(quantity: str, want: Fraction | int) -> None:
    """The result is exact, to a billionth."""
    assert amount(quantity) == want
    assert spec_of({"limits": {"memory": quantity}}).pod.resources.limits["memory"] == quantity


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_together_is_named_with_the_mend(case: str) -> None:
    """The field is the task's own, wherever the other value comes from."""
    resources, given, want = CASES[case]
    assert [str(problem) for problem in pod_problems(spec_of(resources), given)] == ([want] if want else [])


def test_a_container_is_judged_by_its_own_resources() -> None:
    """The default resources and spec.pod.resources are for runners; they do not apply to a container."""
    task = {"container": {"image": "busybox:1.37", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}}
    (problem,) = pod_problems(spec_of({"requests": {"memory": "1Ti"}}, task), defaults(limits={"cpu": "4"}))
    assert problem.path == "spec.task.container.resources.requests.cpu"


@pytest.mark.parametrize(
    ("resources", "want"),
    [
        ({"requests": {"memory": "256 MB"}}, "spec.pod.resources.requests.memory: is not a quantity"),
        ({"limits": {"memory": "-1Gi"}}, "spec.pod.resources.limits.memory: is not a quantity"),
        ({"limits": {"mem": "1Gi"}}, "spec.pod.resources.limits.mem: is a name that is not a resource"),
    ],
)
def test_what_kubernetes_could_not_read_is_refused_with_the_spec(resources: dict[str, Any], want: str) -> None:
    """The model rejects it, and therefore the CRD's schema, too."""
    with pytest.raises(InvalidResourceError) as refused:
        spec_of(resources)
    assert str(refused.value.problems[0]).startswith(want)


WANTED = make_task().every(60).with_spec(pod={"resources": {"requests": {"memory": "512Mi"}}})
"""Its request exceeds the default limit of runners."""
ROOM = defaults(limits={"memory": "1Gi"})


def decided(status: ScheduledTaskStatus, when: str, given: PodSettings = NONE) -> Any:
    """Decide about the task at a time, and check that deciding again yields nothing new."""
    observed: ObservedTask = replace(WANTED.observed(), status=status, stored=status)
    plan = decide(observed, [], at(when), given)
    again = decide(replace(observed, status=plan.status, stored=plan.status), [], at(when), given)
    if not any(isinstance(action, Launch) for action in plan.actions):
        assert (again.actions, again.notices) == ((), ())
    return plan


def test_a_task_whose_pods_nobody_could_start_is_not_ready_and_launches_nothing() -> None:
    """Its condition and one Event name the field and the fix; no slot fails at its launch."""
    plan = decided(ScheduledTaskStatus(), "00:01")
    (ready,) = plan.status.conditions
    assert (ready.type, ready.status, ready.reason) == ("Ready", "False", "InvalidSpec")
    assert ready.message.startswith("spec.pod.resources.requests.memory: must be at most the limit of 256Mi")
    assert [notice.message for notice in plan.notices] == [ready.message]
    assert (plan.actions, plan.status.next_schedule_time) == ((), None)
    assert decided(plan.status, "00:02").notices == ()


def test_an_operator_with_room_for_it_takes_it_up_again() -> None:
    """A new default fixes it: slots count from then, and those that passed have one row with the reason."""
    well = decided(ScheduledTaskStatus(), "00:00:30", ROOM)
    stuck = decided(well.status, "00:00:50")
    plan = decided(stuck.status, "00:05:30", ROOM)
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.reason, record.first_slot, record.slot) == ("InvalidSpec", at("00:01"), at("00:05"))
    assert [type(a) for a in decided(plan.status, "00:06", ROOM).actions] == [Launch]


def test_a_request_is_refused_for_what_it_or_its_task_says_of_pods() -> None:
    """The refusal is final, and its reason tells whose settings are invalid; a request's own settings may fix it."""

    def reason(given: PodSettings, **fields: Any) -> str | None:
        plan = decide_request(make_request(**fields).observed(), WANTED.observed(), [], at("00:10"), given)
        (accepted,) = plan.status.conditions
        return None if any(isinstance(a, Launch) for a in plan.actions) else accepted.reason

    assert reason(NONE) == "TaskInvalid"
    assert reason(ROOM) is None
    assert reason(NONE, pod={"resources": {"requests": {"cpu": "1"}}}) is None
    assert reason(ROOM, pod={"resources": {"requests": {"memory": "2Gi"}}}) == "InvalidSpec"


def test_the_webhook_refuses_what_the_operator_could_not_launch() -> None:
    """It applies the operator's defaults; a change that does not affect the pods, such as a suspension, is accepted."""
    raw = {"intervalSeconds": 60, "task": {"counter": {}}, "pod": {"resources": {"requests": {"memory": "512Mi"}}}}
    body = {"metadata": {"name": "x"}, "spec": raw}
    review = review_of("ScheduledTask", body, None, at("00:01"), pod_defaults=NONE)
    assert [problem.path for problem in review.problems] == ["spec.pod.resources.requests.memory"]
    assert review_of("ScheduledTask", body, None, at("00:01"), pod_defaults=ROOM).problems == ()
    suspended = {"metadata": {"name": "x"}, "spec": raw | {"suspend": True}}
    assert review_of("ScheduledTask", suspended, body, at("00:01"), pod_defaults=NONE).problems == ()
    request = {"metadata": {"name": "x"}, "spec": {"task": {"counter": {}}, "pod": raw["pod"]}}
    assert review_of("RunRequest", request, None, at("00:01"), pod_defaults=NONE).problems
    assert review_of("RunRequest", request, None, at("00:01"), pod_defaults=ROOM).problems == ()


def test_the_webhook_warns_of_resources_that_have_no_effect() -> None:
    """A container's resources have another field."""
    task = {"container": {"image": "busybox:1.37"}}
    raw = {"intervalSeconds": 60, "task": task, "pod": {"resources": {"limits": {"cpu": "1"}}}}
    review = review_of("ScheduledTask", {"metadata": {"name": "x"}, "spec": raw}, None, at("00:01"), pod_defaults=NONE)
    assert review.problems == ()
    assert [w for w in review.warnings if "spec.task.container.resources" in w]


def test_a_default_that_no_runner_could_start_with_is_refused_at_once() -> None:
    """The error names the variable and the field; otherwise, no task could be launched."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(NEEDED | {"CARILLON_POD_DEFAULTS": '{"resources": {"limits": {"memory": "32Mi"}}}'})
    assert str(refused.value) == (
        "CARILLON_POD_DEFAULTS.resources.limits.memory: "
        "must be at least the request of 48Mi that runners have by default (got 32Mi): "
        "raise it, or set CARILLON_POD_DEFAULTS.resources.requests.memory"
    )
