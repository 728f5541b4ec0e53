"""What an author needs for an object of ours: only for what is new in it, and for what that leads to."""

from typing import Any

import pytest

from carillon_core.domain.access.authoring import needs_of
from carillon_core.domain.access.subjects import Subject
from carillon_core.resources.names import KIND, KIND_REQUEST, KIND_TARGET

SUM = {"sum": {"a": 1, "b": 2}}
RUN = {"container": {"image": "busybox:1", "command": ["true"]}}
OTHER = {"container": {"image": "busybox:2", "command": ["true"]}}
KEY = {"name": "keys", "key": "token"}
URL = "https://example.com/"
TARGET = {
    "url": URL,
    "headers": [{"name": "X-Plain", "value": "a"}, {"name": "Authorization", "secretKeyRef": KEY}],
    "signing": {"secretKeyRefs": [{"name": "signs", "key": "k"}]},
}
GET_KEYS = ("spec.headers[1].secretKeyRef", "get", "secrets", "keys")
GET_SIGNS = ("spec.signing.secretKeyRefs[0]", "get", "secrets", "signs")
JOBS_TASK = ("spec.task.container", "create", "jobs", None)
JOBS_POD = ("spec.pod", "create", "jobs", None)
ACCOUNT = ("spec.pod.serviceAccountName", "impersonate", "serviceaccounts", "robot")
TASKS = ("spec.task", "create", "scheduledtasks", None)
ROBOT = {"serviceAccountName": "robot"}


def every(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the spec of a ScheduledTask."""
    return {"intervalSeconds": 60, "task": task, **more}


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None, list[tuple[str, str, str, str | None]]]] = {
    # kind, new spec, old spec, wanted
    "a new target needs each of its Secrets": (KIND_TARGET, TARGET, None, [GET_KEYS, GET_SIGNS]),
    "a target without Secrets needs nothing": (KIND_TARGET, {"url": URL}, None, []),
    "an unchanged target needs nothing": (KIND_TARGET, TARGET, TARGET, []),
    "another body needs nothing": (KIND_TARGET, TARGET | {"body": "new"}, TARGET, []),
    "another URL needs each Secret that is sent to it": (
        KIND_TARGET,
        TARGET | {"url": "https://evil.example/"},
        TARGET,
        [GET_KEYS, GET_SIGNS],
    ),
    "another key of a known Secret needs that Secret": (
        KIND_TARGET,
        TARGET | {"signing": {"secretKeyRefs": [{"name": "signs", "key": "other"}]}},
        TARGET,
        [GET_SIGNS],
    ),
    "a known Secret in another header needs that Secret": (
        KIND_TARGET,
        TARGET | {"headers": [{"name": "X-Plain", "value": "a"}, {"name": "X-Shown", "secretKeyRef": KEY}]},
        TARGET,
        [GET_KEYS],
    ),
    "a header that has moved needs nothing": (
        KIND_TARGET,
        TARGET | {"headers": [{"name": "Authorization", "secretKeyRef": KEY}]},
        TARGET,
        [],
    ),
    "an old target that cannot be read counts as none": (KIND_TARGET, TARGET, {"url": 1}, [GET_KEYS, GET_SIGNS]),
    "a container's own account": (
        KIND,
        every({"container": {"image": "busybox", "serviceAccountName": "robot"}}),
        None,
        [JOBS_TASK, ("spec.task.container.serviceAccountName", "impersonate", "serviceaccounts", "robot")],
    ),
    "another image under a container's known account": (
        KIND,
        every({"container": {"image": "evil", "serviceAccountName": "robot"}}),
        every({"container": {"image": "busybox", "serviceAccountName": "robot"}}),
        [JOBS_TASK, ("spec.task.container.serviceAccountName", "impersonate", "serviceaccounts", "robot")],
    ),
    "a whole Job, and the account in its template": (
        KIND,
        every({"job": {"template": {"spec": {"template": {"spec": {"serviceAccount": "robot"}}}}}}),
        None,
        [
            ("spec.task.job", "create", "jobs", None),
            ("spec.task.job.template.spec.template.spec.serviceAccount", "impersonate", "serviceaccounts", "robot"),
        ],
    ),
    "a whole Job without a pod": (
        KIND,
        every({"job": {"template": {"spec": []}}}),
        None,
        [("spec.task.job", "create", "jobs", None)],
    ),
    "an unchanged whole Job": (
        KIND,
        every({"job": {"template": {}}}, suspend=True),
        every({"job": {"template": {}}}),
        [],
    ),
    "a plain task needs nothing": (KIND, every(SUM), None, []),
    "an empty spec.pod needs nothing": (KIND, every(SUM, pod={}), None, []),
    "an empty spec.pod replaces the settings of the task that a request runs": (
        KIND_REQUEST,
        {"taskRef": {"name": "nightly"}, "pod": {}},
        None,
        [JOBS_POD],
    ),
    "a request with an empty spec.pod and a task of its own needs no Jobs": (
        KIND_REQUEST,
        {"task": SUM, "pod": {}},
        None,
        [TASKS],
    ),
    "a container needs Jobs": (KIND, every(RUN), None, [JOBS_TASK]),
    "another schedule of a container needs nothing": (
        KIND,
        every(RUN, pod=ROBOT) | {"intervalSeconds": 90},
        every(RUN, pod=ROBOT),
        [],
    ),
    "spec.pod needs Jobs": (KIND, every(SUM, pod={"priorityClassName": "high"}), None, [JOBS_POD]),
    "a ServiceAccount needs Jobs and its identity": (KIND, every(SUM, pod=ROBOT), None, [JOBS_POD, ACCOUNT]),
    "another container under a known ServiceAccount needs its identity": (
        KIND,
        every(OTHER, pod=ROBOT),
        every(RUN, pod=ROBOT),
        [JOBS_TASK, ACCOUNT],
    ),
    "a container in place of a sum under a known ServiceAccount needs its identity": (
        KIND,
        every(RUN, pod=ROBOT),
        every(SUM, pod=ROBOT),
        [JOBS_TASK, ACCOUNT],
    ),
    "another priority keeps the ServiceAccount": (
        KIND,
        every(SUM, pod={"priorityClassName": "high", **ROBOT}),
        every(SUM, pod=ROBOT),
        [JOBS_POD],
    ),
    "pod settings that are removed need nothing": (KIND, every(SUM), every(SUM, pod=ROBOT), []),
    "a request for a task needs nothing": (KIND_REQUEST, {"taskRef": {"name": "a"}}, None, []),
    "a request with spec.pod needs Jobs": (
        KIND_REQUEST,
        {"taskRef": {"name": "a"}, "pod": ROBOT},
        None,
        [JOBS_POD, ACCOUNT],
    ),
    "a request with its own task needs what a task needs": (KIND_REQUEST, {"task": SUM}, None, [TASKS]),
    "a request with its own container needs Jobs also": (
        KIND_REQUEST,
        {"task": RUN, "pod": ROBOT},
        None,
        [TASKS, JOBS_TASK, JOBS_POD, ACCOUNT],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_an_author_needs(case: str) -> None:
    """Each case is as its name says."""
    kind, new, old, want = CASES[case]
    needs = needs_of(kind, "team-a", {"spec": new}, None if old is None else {"spec": old})
    assert [(n.field, n.access.verb, n.access.resource, n.access.name) for n in needs] == want
    assert {n.access.namespace for n in needs} <= {"team-a"}


def test_a_refusal_names_the_field_and_the_missing_permission() -> None:
    """With the user, the verb, the resource with its group, the name and the namespace."""
    author = Subject("jane")
    told = [str(n.refusal(author)) for n in needs_of(KIND, "team-a", {"spec": every(RUN, pod=ROBOT)}, None)]
    assert told == [
        'spec.task.container: user "jane" needs the permission to create jobs.batch in namespace "team-a"',
        'spec.pod: user "jane" needs the permission to create jobs.batch in namespace "team-a"',
        (
            'spec.pod.serviceAccountName: user "jane" needs the permission to impersonate serviceaccounts "robot"'
            ' in namespace "team-a"'
        ),
    ]
