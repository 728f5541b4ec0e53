"""Why a pod does not start, read from its status and from the Events about a refused pod."""

from typing import Any

import pytest

from carillon_core.domain.observed.pod_trouble import (
    PodRefusal,
    PodTrouble,
    has_had_pod,
    pod_refusal,
    pod_trouble,
    refused_pod,
)
from support.builders import POD_OF_FIRST, at
from support.pod_refusals import FULL, NO_ACCOUNT, NO_ROOM

CONFLICT = (
    'Operation cannot be fulfilled on resourcequotas "team": the object has been modified; please apply your changes to'
    " the latest version and try again"
)
UNCOUNTED = "status unknown for quota: none, resources: pods"


def forbidden(why: str, pod: str = "backup-1767229200-x7k2p") -> str:
    """Return the Job controller's message about a pod that admission refused."""
    return f'Error creating: pods "{pod}" is forbidden: {why}'


def refusal(message: str, first: str, last: str | None = None) -> PodRefusal:
    """Return a refusal between two times of the hour 01."""
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
    "so is one that others change at the same time": {
        "given": [refusal(f"Error creating: {CONFLICT}", "00:01"), refusal(forbidden(CONFLICT), "00:03")],
        "want": (CONFLICT, "01:00:01", True),
    },
    "a conflict over something else is no want of room": {
        "given": [refusal(f"Error creating: {CONFLICT.replace('resourcequotas', 'pods')}", "00:01")],
        "want": (CONFLICT.replace("resourcequotas", "pods"), "01:00:01", False),
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
    """Each case has the stated message, beginning, and answer to whether waiting may help."""
    now = at("01:30:00")
    found = refused_pod(case["given"], at(case.get("begun", "01:00:00")), now, case.get("known"))
    if case["want"] is None:
        assert found is None
        return
    message, since, waits = case["want"]
    assert found == PodTrouble("FailedCreate", message, at(since), waits=waits, seen_at=now)


def test_the_times_of_an_event_are_those_of_either_api() -> None:
    """The times come from the fields of either Events API, or else from the creation timestamp."""
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
    """The Job's status also shows pods that are already deleted."""
    assert has_had_pod({"status": status}) is want


def test_patience_with_a_pod_begins_when_it_has_a_node() -> None:
    """The time to start counts from when the pod was scheduled, not from its creation."""
    waiting = {"name": "runner", "state": {"waiting": {"reason": "ErrImagePull"}}}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:10:00Z"}
    status = {"phase": "Pending", "containerStatuses": [waiting], "conditions": [scheduled]}
    trouble = pod_trouble({"metadata": POD_OF_FIRST, "status": status})
    assert trouble is not None
    assert trouble.since == at("00:10:00")
