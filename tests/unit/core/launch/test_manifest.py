"""The Jobs of runners, of users' containers and of requests, and what they must not contain."""

import base64
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import ENV_EXECUTION_TOKEN, Cause, ExitCode
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import Order, request_order, slot_order
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.retries import Retries, parse_retries
from carillon_core.resources.tasks import RetryPolicy
from support.builders import (
    REQUEST_UID,
    TASK_UID,
    RequestBuilder,
    TaskBuilder,
    at,
    make_request,
    make_target,
    make_task,
)

TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"k" * 32))
SLOT = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))
NOW = Launch(at("00:10"), execution_id(REQUEST_UID, at("00:10"), Cause.MANUAL), Cause.MANUAL)
CONTAINER = {
    "image": "busybox:1.37",
    "command": ["sh", "-c"],
    "args": ["echo $(A)"],
    "env": [{"name": "A", "value": "$(B)"}, {"name": "CARILLON_SLOT", "value": "mine"}],
    "workingDir": "/work",
    "runAsUser": 1000,
    "resources": {"limits": {"memory": "64Mi"}},
}


def job_of(task: TaskBuilder) -> dict[str, Any]:
    """Return the Job of a task's slot."""
    return job_manifest(slot_order(task.observed(), SLOT), TEMPLATE)


def job_of_request(request: RequestBuilder, task: TaskBuilder | None) -> dict[str, Any]:
    """Return the Job of a request."""
    return job_manifest(request_order(request.observed(), task.observed() if task else None, NOW), TEMPLATE)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a Job's pod."""
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def env_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the environment of a Job's container: values or their sources."""
    (container,) = pod_of(job)["containers"]
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def test_a_users_container_runs_as_it_was_written() -> None:
    """It has the image, command, arguments, folder and limits; "$(" in a value is not expanded."""
    (container,) = pod_of(job_of(make_task().every(60).with_spec(task={"container": CONTAINER})))["containers"]
    assert {k: container[k] for k in ("name", "image", "command", "args", "workingDir", "resources")} == {
        "name": "task",
        "image": "busybox:1.37",
        "command": ["sh", "-c"],
        "args": ["echo $(A)"],
        "workingDir": "/work",
        "resources": {"limits": {"memory": "64Mi"}},
    }
    assert {"name": "A", "value": "$$(B)"} in container["env"]


def test_a_users_container_is_told_which_execution_it_is_and_no_secret() -> None:
    """The task's own variables take precedence; there is no database URL."""
    job = job_of(make_task().every(60).with_spec(task={"container": CONTAINER}))
    env = env_of(job)
    assert env["CARILLON_EXECUTION_ID"] == str(SLOT.execution_id)
    assert env["CARILLON_SLOT"] == "mine"
    assert "DATABASE_URL" not in env
    assert "secretKeyRef" not in json.dumps(job)


def test_a_users_container_is_kept_small() -> None:
    """It has no root user, no privileges and no service account token."""
    pod = pod_of(job_of(make_task().every(60).with_spec(task={"container": CONTAINER})))
    assert pod["securityContext"] | {"seccompProfile": None} == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": None,
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_container_that_says_little_has_little() -> None:
    """It uses the image's command, user and folder."""
    pod = pod_of(job_of(make_task().every(60).with_spec(task={"container": {"image": "busybox"}})))
    assert "runAsUser" not in pod["securityContext"]
    assert {"command", "args", "workingDir", "resources"}.isdisjoint(pod["containers"][0])


def test_a_containers_job_is_one_attempt_and_says_how_it_is_retried() -> None:
    """A pod that hangs ends at the execution's time-out, or at the attempt's if that is shorter."""
    task = make_task().every(60).with_spec(task={"container": CONTAINER}, timeoutSeconds=60, retry={"limit": 2})
    job = job_of(task)
    assert job["spec"]["backoffLimit"] == 0
    assert pod_of(job)["activeDeadlineSeconds"] == 60
    retries = parse_retries(job["metadata"]["annotations"]["carillon.dev/retries"])
    assert retries == Retries(policy=RetryPolicy(limit=2), timeout_seconds=60)
    limited = job_of(task.with_spec(retry={"limit": 2, "attemptTimeoutSeconds": 20}))
    assert pod_of(limited)["activeDeadlineSeconds"] == 20
    told = parse_retries(limited["spec"]["template"]["metadata"]["annotations"]["carillon.dev/retries"])
    assert told is not None
    assert told.limited
    assert "carillon.dev/retries" not in job_of(task.without("retry"))["metadata"]["annotations"]


@pytest.mark.parametrize("task", [{"container": CONTAINER}, {"counter": {}}])
def test_a_drain_runs_no_two_pods_and_uses_up_no_try(task: dict[str, Any]) -> None:
    """A pod is followed by another when it has ended, and a disruption counts as no failure."""
    job = job_of(make_task().every(60).with_spec(task=task))
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    final = [
        rule["onExitCodes"]["values"] for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    assert not any(ExitCode.INTERRUPTED in values for values in final), "another pod goes on"
    ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert ignored in job["spec"]["podFailurePolicy"]["rules"]
    assert pod_of(job)["restartPolicy"] == "Never"


def test_a_container_that_a_drain_ended_late_has_its_whole_time_again() -> None:
    """Of its attempt and one more pod."""
    task = make_task().every(60).with_spec(task={"container": CONTAINER}, timeoutSeconds=60, retry={"limit": 2})
    assert job_of(task)["spec"]["activeDeadlineSeconds"] == 2 * 60 + 2 * 300


def test_a_runners_job_is_read_back_as_the_tasks() -> None:
    """Owner, labels and name agree, so ``observed_job`` accepts the Job."""
    for body in (job_of(make_task().every(60)), job_of_request(make_request(), make_task().every(60))):
        body["metadata"]["uid"] = "j1"
        seen = observed_job(body)
        assert seen is not None
        assert seen.execution_id == body["metadata"]["annotations"]["carillon.dev/execution-id"]
        assert (seen.task_uid, seen.task_name, seen.task_type) == (TASK_UID, "backup", "sum")


def test_a_requests_job_belongs_to_the_request_and_counts_as_the_tasks() -> None:
    """Its parameters are applied, and its own limits take precedence."""
    request = make_request(parameters={"a": 7}, timeoutSeconds=9, retry={"limit": 1})
    job = job_of_request(request, make_task().every(60))
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("RunRequest", REQUEST_UID)
    assert job["metadata"]["labels"]["carillon.dev/task-uid"] == TASK_UID
    env = env_of(job)
    assert json.loads(env["CARILLON_TASK"]) == {"sum": {"a": 7, "b": 2}}
    assert env["CARILLON_TIMEOUT_SECONDS"] == "9"
    assert json.loads(env["CARILLON_RETRY"])["limit"] == 1
    assert json.loads(env["CARILLON_PARAMETERS"]) == {"a": 7}
    assert (env["CARILLON_CAUSE"], env["CARILLON_ORIGIN"]) == ("manual", REQUEST_UID)


def test_a_requests_job_has_the_tasks_limits_if_it_says_none() -> None:
    """It also has the task's time zone."""
    env = env_of(job_of_request(make_request(), make_task().cron("@hourly", "Asia/Tokyo").with_spec(timeoutSeconds=77)))
    assert (env["CARILLON_TIMEOUT_SECONDS"], env["CARILLON_TIME_ZONE"]) == ("77", "Asia/Tokyo")
    assert "CARILLON_RETRY" not in env


def test_a_request_with_a_task_of_its_own_is_its_own_task() -> None:
    """Its name and uid take the place of the task's; the default limits apply."""
    job = job_of_request(make_request(task={"sum": {"a": 1, "b": 1}}), None)
    assert job["metadata"]["labels"]["carillon.dev/task-uid"] == REQUEST_UID
    assert env_of(job)["CARILLON_TIMEOUT_SECONDS"] == "3600"


def test_a_task_without_a_valid_spec_has_no_order() -> None:
    """``decide`` never launches it; an attempt raises an error."""
    observed = make_task().observed()
    with pytest.raises(ValueError, match="has no valid spec"):
        slot_order(observed, SLOT)


@pytest.mark.parametrize("spec", [{"taskRef": {}}, {"parameters": {"c": 1}}])
def test_a_request_that_cannot_be_run_has_no_order(spec: dict[str, Any]) -> None:
    """This holds for an invalid request and for invalid parameters."""
    request, task = make_request(**spec).observed(), make_task().every(60).observed()
    with pytest.raises(ValueError, match="cannot be run"):
        request_order(request, task, NOW)


TARGET = {
    "url": "https://shop.example/{{ slot }}",
    "method": "POST",
    "headers": [
        {"name": "X-Plain", "value": "v"},
        {"name": "X-Own", "value": "target's"},
        {"name": "Authorization", "secretKeyRef": {"name": "shop", "key": "token"}},
    ],
    "body": "from the target",
    "expectedStatuses": [202],
    "maxRedirects": 3,
    "signing": {"secretKeyRefs": [{"name": "shop", "key": "new"}, {"name": "shop", "key": "old"}]},
}


def resolved(http: dict[str, Any], target: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the HTTP task in the runner's form, and its environment."""
    task = make_task().every(60).calling(target=target)
    task.raw["spec"]["task"]["http"] |= http
    env = env_of(job_of(task))
    read: dict[str, Any] = json.loads(env["CARILLON_TASK"].replace("$$", "$"))["http"]
    return read, env


def test_a_targets_secrets_are_named_and_never_copied() -> None:
    """Each is an optional variable from its Secret; the runner names a missing one."""
    read, env = resolved({}, TARGET)
    (header,) = read["secretHeaders"]
    assert (header["name"], header["source"]) == ("Authorization", "shop/token")
    assert [s["source"] for s in read["signing"]] == ["shop/new", "shop/old"]
    for variable, key in zip((header, *read["signing"]), ("token", "new", "old"), strict=True):
        assert env[variable["variable"]] == {"secretKeyRef": {"name": "shop", "key": key, "optional": True}}


def test_a_targets_fields_hold_where_the_task_has_none() -> None:
    """This holds for URL, method, headers, body, statuses and redirects."""
    read, _ = resolved({}, TARGET)
    assert {k: read[k] for k in ("url", "method", "body", "expectedStatuses", "maxRedirects")} == {
        k: TARGET[k] for k in ("url", "method", "body", "expectedStatuses", "maxRedirects")
    }
    assert read["headers"] == {"X-Plain": "v", "X-Own": "target's"}


def test_a_tasks_fields_win_over_its_targets() -> None:
    """A header of the task replaces the target's, even a secret one, ignoring case; maxRedirects 0 overrides, too."""
    own = {
        "method": "PUT",
        "body": "",
        "headers": {"x-own": "task's", "authorization": "none"},
        "expectedStatuses": [200],
        "maxRedirects": 0,
    }
    read, env = resolved(own, TARGET)
    assert {k: read[k] for k in own if k != "headers"} == {k: v for k, v in own.items() if k != "headers"}
    assert read["headers"] == {"X-Plain": "v", "x-own": "task's", "authorization": "none"}
    assert read["secretHeaders"] == []
    assert sum("optional" in str(value) for value in env.values()) == 2


def test_a_targets_time_out_is_that_of_tasks_and_requests_without_one() -> None:
    """A task's own comes first, and a request's own before that; without any, it is an hour."""
    limited, plain = {**TARGET, "timeoutSeconds": 30}, TARGET
    own: dict[str, Any] = {"timeoutSeconds": 5}
    tasks = [make_task().every(60).with_spec(**more).calling(target=t) for more in ({}, own) for t in (limited, plain)]
    assert [slot_order(task.observed(), SLOT).timeout_seconds for task in tasks] == [30, 3600, 5, 5]
    asked = [make_request(taskRef={"name": "backup"}, **more).observed() for more in ({}, {"timeoutSeconds": 7})]
    assert [request_order(request, tasks[0].observed(), NOW).timeout_seconds for request in asked] == [30, 7]
    assert env_of(job_of(tasks[0]))["CARILLON_TIMEOUT_SECONDS"] == "30"
    request = make_request(task={"http": {"targetRef": {"name": "shop"}}})
    request.target = make_target("shop", limited)
    assert request_order(request.observed(), None, NOW).timeout_seconds == 30


def test_a_target_without_secrets_needs_none() -> None:
    """A URL is enough; there is no body."""
    read, _ = resolved({}, {"url": "http://a.example/"})
    assert (read["secretHeaders"], read["signing"], "body" in read) == ([], [], False)


def test_a_request_of_its_own_resolves_its_own_target() -> None:
    """It does not use the task's target."""
    request = make_request(task={"http": {"targetRef": {"name": "shop"}}})
    request.target = make_target("shop", TARGET)
    env = env_of(job_of_request(request, None))
    assert json.loads(env["CARILLON_TASK"])["http"]["url"] == TARGET["url"]


def test_an_order_says_whether_a_runner_runs_it() -> None:
    """A user's container has no runner."""
    order: Order = slot_order(make_task().every(60).observed(), SLOT)
    assert not order.container
    assert isinstance(order.execution_id, UUID)
    container = make_task().every(60).with_spec(task={"container": CONTAINER}).observed().spec
    assert container is not None
    assert replace(order, task=container.task).container


def test_a_runner_has_the_token_of_its_own_execution() -> None:
    """The token identifies the row; users' containers have no token."""
    key, payload, _ = env_of(job_of(make_task("backup").every(60)))[ENV_EXECUTION_TOKEN].split(".")
    assert key == TEMPLATE.token_key.id
    assert json.loads(base64.b64decode(payload)) == {
        "id": str(SLOT.execution_id),
        "task_uid": TASK_UID,
        "origin": TASK_UID,
        "namespace": "default",
        "task": "backup",
        "task_type": "sum",
        "slot": "2026-01-01T00:01:00Z",
        "cause": "schedule",
        "job_name": "backup-1767225660",
    }
    assert ENV_EXECUTION_TOKEN not in env_of(job_of(make_task().every(60).with_spec(task={"container": CONTAINER})))


@pytest.mark.parametrize(
    ("task", "want"),
    [({"counter": {"name": "till"}}, "till"), ({"counter": {}}, "backup"), ({"sum": {"a": 1, "b": 2}}, None)],
)
def test_a_token_names_the_counter_that_the_task_may_increment(task: dict[str, Any], want: str | None) -> None:
    """Other task types name no counter."""
    order = slot_order(make_task("backup").every(60).with_spec(task=task).observed(), SLOT)
    assert order.token_payload()["counter"] == want


def test_what_a_request_repeats_is_in_its_token_and_on_its_job() -> None:
    """The runner's row takes it from the token, the operator's row from the Job."""
    repeated = "0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d"
    request = make_request(task={"sum": {"a": 1, "b": 2}}, retryOf=repeated)
    assert request_order(request.observed(), None, NOW).token_payload()["retry_of"] == repeated
    job = job_of_request(request, None)
    job["metadata"] |= {"uid": "u"}
    seen = observed_job(job)
    assert seen is not None
    assert seen.retry_of == UUID(repeated)
    job["metadata"]["annotations"]["carillon.dev/retry-of"] = "nonsense"
    seen = observed_job(job)
    assert seen is not None
    assert seen.retry_of is None
