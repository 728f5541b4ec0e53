"""HTTPTargets: headers and signatures from Secrets, and tasks whose target or Secret is missing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING

import pytest

from support.manifests import condition, request, secret, target, task
from support.recording_server import RecordingServer
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

TOKEN = "s3cr3t-t0k3n-of-the-test"  # noqa: S105  # a made-up value that the test searches for everywhere
KEYS = (b"the first key, 24 bytes!", b"another text as a key")
ENCODED = f"whsec_{base64.b64encode(KEYS[0]).decode()}"


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """Serve responses that repeat each request."""
    with RecordingServer() as running:
        yield running


def test_a_target_brings_headers_and_signatures_of_secrets(
    stack: Stack, namespace: str, server: RecordingServer
) -> None:
    """Both keys sign, and the receiver can verify either; secrets are only in the Secret and in requests."""
    signing = {"secretKeyRefs": [{"name": "keys", "key": "new"}, {"name": "keys", "key": "old"}]}
    headers = [
        {"name": "Authorization", "secretKeyRef": {"name": "keys", "key": "token"}},
        {"name": "X-Plain", "value": "slot {{ slot }}"},
    ]
    stack.apply_objects(
        namespace,
        secret("keys", token=f"Bearer {TOKEN}", new=ENCODED, old=KEYS[1].decode()),
        target("there", url=f"{server.url}/hook", method="POST", headers=headers, signing=signing, body="told"),
        task("teller", intervalSeconds=2, task={"http": {"targetRef": {"name": "there"}, "body": "{{ task }} ran"}}),
        request("once", task={"http": {"targetRef": {"name": "there"}}}),
    )
    row = stack.await_rows(namespace, "teller", 2, "succeeded")[0]
    stack.await_rows(namespace, "once", 1, "succeeded")
    (sent, body) = next(s for s in server.to("/hook") if s[0]["webhook-id"] == str(row["id"]))
    assert sent["authorization"] == f"Bearer {TOKEN}"
    assert sent["x-plain"].startswith("slot 20")
    assert sent["idempotency-key"] == str(row["id"])
    assert body == b"teller ran"
    assert b"told" in [body for _, body in server.to("/hook")], "without a body of its own, a task has the target's"
    signed = f"{row['id']}.{sent['webhook-timestamp']}.".encode() + body
    wanted = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in KEYS]
    assert sent["webhook-signature"].split() == [f"v1,{signature}" for signature in wanted]
    assert "***" in row["result"]["body"], "the server has repeated the token, the row does not"
    assert_nowhere(stack, namespace, TOKEN, ENCODED, ENCODED.removeprefix("whsec_"), KEYS[1].decode())


def assert_nowhere(stack: Stack, namespace: str, *values: str) -> None:
    """Search for secrets in logs, Events, statuses, manifests of Jobs and pods, and rows."""
    kinds = "scheduledtasks,runrequests,httptargets,jobs,pods,events"
    pods = [pod["metadata"]["name"] for pod in stack.pods(namespace)]
    rows = stack.rows(namespace)
    places = {
        "objects": stack.kubectl("get", kinds, "--namespace", namespace, "--output", "json"),
        "the operator's log": stack.log("operator"),
        "the API's log": stack.log("api"),
        "rows": json.dumps([rows, [stack.attempts(row) for row in rows]], default=str),
        "REST": stack.http.get(f"/api/v1/namespaces/{namespace}/tasks").text,
        **{f"the log of {pod}": stack.kubectl("logs", pod, "--namespace", namespace, check=False) for pod in pods},
    }
    found = [(place, value) for place, text in places.items() for value in values if value in text]
    assert not found
    assert any(text for place, text in places.items() if place.startswith("the log of"))


def test_what_is_missing_is_said_and_mended(stack: Stack, namespace: str, server: RecordingServer) -> None:
    """A missing key of a Secret fails each execution; a missing target makes the task not ready until it exists."""
    header = {"name": "X-Key", "secretKeyRef": {"name": "late", "key": "key"}}
    stack.apply_objects(
        namespace,
        target("keyless", url=f"{server.url}/keyless", headers=[header]),
        task("keyless", intervalSeconds=2, task={"http": {"targetRef": {"name": "keyless"}}}),
        task("lost", intervalSeconds=2, task={"http": {"targetRef": {"name": "late"}}}),
    )
    row = stack.await_rows(namespace, "keyless", 1, "failed")[0]
    assert row["reason"] == "SecretMissing"
    assert "late/key" in row["error"]
    row = stack.await_rows(namespace, "lost", 1, "failed")[0]
    assert (row["reason"], row["job_name"]) == ("TargetNotFound", None)
    assert condition(stack.task(namespace, "lost"), "Ready") == ("False", "TargetNotFound")
    stack.apply_objects(namespace, secret("late", key="now"), target("late", url=f"{server.url}/late"))
    stack.await_rows(namespace, "lost", 1, "succeeded")
    stack.await_rows(namespace, "keyless", 1, "succeeded")
    assert server.to("/keyless")[0][0]["x-key"] == "now"
    until(
        lambda: condition(stack.task(namespace, "lost"), "Ready") == ("True", "Scheduled"), 30, "the task is ready", 0.5
    )
