"""The API server and the models reject the same HTTPTargets and RunRequests, with the same messages."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.errors import FieldProblem, InvalidResourceError, RefusedError
from carillon_core.ports import JSONObject
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.names import API_VERSION
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import name_problems, parse_spec

SUM = {"sum": {"a": 1, "b": 2}}
VARIABLE = {"name": "A", "value": "x"}
KEY = {"name": "keys", "key": "current"}
PARSERS = {"HTTPTarget": parse_target_spec, "RunRequest": parse_request_spec, "ScheduledTask": parse_spec}


@dataclass(frozen=True, slots=True)
class Server:
    """Our objects in the real API server, in the test's own namespace."""

    connection: KubeConnection
    namespace: str

    async def create(self, kind: str, name: str, spec: Any) -> JSONObject:
        """Create an object; raise the server's errors."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        # kubectl and the REST facade also ask the server to reject unknown fields
        return await self.connection.request("POST", f"{self._path(kind)}?fieldValidation=Strict", body=body)

    async def patch(self, kind: str, name: str, patch: JSONObject) -> JSONObject:
        """Merge a patch into an object."""
        path = f"{self._path(kind)}/{name}"
        return await self.connection.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    def _path(self, kind: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{kind.lower()}s"


@pytest.fixture
def server(connection: KubeConnection, namespace: str) -> Server:
    """Give the API server."""
    return Server(connection, namespace)


def target(**fields: Any) -> JSONObject:
    """Build a target's spec."""
    return {"url": "https://example.com/"} | fields


def every(task: JSONObject) -> JSONObject:
    """Build a task's spec."""
    return {"intervalSeconds": 60, "task": task}


def contained(**fields: Any) -> JSONObject:
    """Build the spec of a task that runs a container."""
    return every({"container": {"image": "busybox", **fields}})


BAD_SPECS: dict[str, tuple[str, JSONObject, str, str]] = {
    "a container with too much text": (
        "RunRequest",
        {
            "task": {
                "container": {"image": "a", "command": ["x" * 65_536], "args": ["x" * 65_536] * 3, "env": [VARIABLE]}
            }
        },
        "spec.task.container",
        "has more than 262144 characters in command, args and the values of env together",
    ),
    "a variable of two sources": (
        "ScheduledTask",
        contained(env=[{"name": "A", "valueFrom": {"secretKeyRef": KEY, "fieldRef": {"fieldPath": "metadata.name"}}}]),
        "spec.task.container.env[0].valueFrom",
        "has fieldRef and secretKeyRef: keep exactly one of them",
    ),
    "a variable of no source": (
        "ScheduledTask",
        contained(env=[{"name": "A", "valueFrom": {}}]),
        "spec.task.container.env[0].valueFrom",
        "has none of configMapKeyRef, fieldRef, resourceFieldRef, secretKeyRef: add one",
    ),
    "a variable with a value and a source": (
        "ScheduledTask",
        contained(env=[{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": KEY}}]),
        "spec.task.container.env[0]",
        "has value and valueFrom: keep exactly one of them",
    ),
    "an environment from nowhere": (
        "ScheduledTask",
        contained(envFrom=[{"prefix": "A_"}]),
        "spec.task.container.envFrom[0]",
        "has none of configMapRef, secretRef: add one",
    ),
    "a job without a template": ("ScheduledTask", every({"job": {}}), "spec.task.job.template", "is required: add it"),
    "too many parameters": (
        "RunRequest",
        {"taskRef": {"name": "a"}, "parameters": {f"p{number}": 1 for number in range(257)}},
        "spec.parameters",
        "",
    ),
    "a target of no URL": ("HTTPTarget", {"method": "GET"}, "spec.url", "is required: add it"),
    "a target of another scheme": (
        "HTTPTarget",
        target(url="ftp://example.com"),
        "spec.url",
        "must be an absolute URL that begins with http:// or https:// and names a host",
    ),
    "a header without a value": (
        "HTTPTarget",
        target(headers=[{"name": "a", "value": "b"}, {"name": "c"}]),
        "spec.headers[1]",
        "has neither value nor secretKeyRef: add one",
    ),
    "a header of two values": (
        "HTTPTarget",
        target(headers=[{"name": "a", "value": "b", "secretKeyRef": KEY}]),
        "spec.headers[0]",
        "has value and secretKeyRef: keep exactly one of them",
    ),
    "a header's name with a space": (
        "HTTPTarget",
        target(headers=[{"name": "a b", "value": "b"}]),
        "spec.headers[0].name",
        "is a name that HTTP does not allow: use 1 to 256 letters, digits and ",
    ),
    "a signature without a key": (
        "HTTPTarget",
        target(signing={"secretKeyRefs": []}),
        "spec.signing.secretKeyRefs",
        "should have at least 1 item|must not be empty",
    ),
    "a signature of three keys": (
        "HTTPTarget",
        target(signing={"secretKeyRefs": [KEY, KEY, KEY]}),
        "spec.signing.secretKeyRefs",
        "at most 2 items",
    ),
    "a Secret without a key": (
        "HTTPTarget",
        target(headers=[{"name": "a", "secretKeyRef": {"name": "keys"}}]),
        "spec.headers[0].secretKeyRef.key",
        "is required: add it",
    ),
    "a request of no task": (
        "RunRequest",
        {"parameters": {"a": 1}},
        "spec",
        "must set taskRef or task",
    ),
    "a request of two tasks": (
        "RunRequest",
        {"taskRef": {"name": "backup"}, "task": SUM},
        "spec",
        "has taskRef and task: keep exactly one of them",
    ),
    "a request of a task of two types": (
        "RunRequest",
        {"task": SUM | {"plugin": {"name": "x"}}},
        "spec.task",
        "task types .*sum.* plugin.*: keep exactly one",
    ),
    "a request of parameters that are no object": (
        "RunRequest",
        {"task": SUM, "parameters": [1]},
        "spec.parameters",
        "object",
    ),
    "a request of an image that is none": (
        "RunRequest",
        {"task": {"container": {"image": "busy box"}}},
        "spec.task.container.image",
        "is not an image name: write it without spaces, such as busybox:1.37",
    ),
    "a body with a colon for a header": (
        "HTTPTarget",
        target(headers=[{"name": "a", "value": "b\nc"}]),
        "spec.headers[0].value",
        "match|is a value that HTTP does not allow",
    ),
    "a field that there is not": (
        "RunRequest",
        {"task": SUM, "when": "now"},
        "spec.when",
        "is an unknown field: remove it or correct its spelling",
    ),
}


def telling(problems: tuple[FieldProblem, ...], path: str, want: str) -> list[FieldProblem]:
    """Return the field's problems that match; an exact sentence matches itself."""
    return [p for p in problems if p.path == path and (want in p.message or re.search(want, p.message))]


@pytest.mark.parametrize(("kind", "spec", "path", "want"), BAD_SPECS.values(), ids=BAD_SPECS)
async def test_a_bad_spec_is_refused_in_the_same_words(
    server: Server, kind: str, spec: JSONObject, path: str, want: str
) -> None:
    """The model and the API server name the same field and the same fix."""
    with pytest.raises(InvalidResourceError) as by_model:
        PARSERS[kind](spec, strict=True)
    assert telling(by_model.value.problems, path, want), str(by_model.value)
    with pytest.raises(RefusedError) as by_server:
        await server.create(kind, "bad", spec)
    assert telling(by_server.value.problems, path, want), str(by_server.value)


@pytest.mark.parametrize(
    ("kind", "spec", "defaults"),
    [
        ("HTTPTarget", target(), {"method": "GET", "maxRedirects": 0}),
        (
            "HTTPTarget",
            target(
                method="POST",
                maxRedirects=3,
                headers=[{"name": "Authorization", "secretKeyRef": KEY}, {"name": "x-empty", "value": ""}],
                body="{{ slot }}",
                expectedStatuses=[200, 202],
                signing={"secretKeyRefs": [KEY, KEY]},
            ),
            {},
        ),
        ("RunRequest", {"taskRef": {"name": "backup"}}, {"ttlSecondsAfterFinished": 3600}),
        (
            "RunRequest",
            {
                "task": {"plugin": {"name": "report", "parameters": {"deep": {"er": [1, None, "x"]}}}},
                "parameters": {"any": {"thing": [True]}},
                "runAt": "2027-01-01T00:00:00Z",
                "concurrencyPolicy": "Replace",
                "ttlSecondsAfterFinished": 0,
            },
            {},
        ),
        (
            "RunRequest",
            {
                "task": {
                    "container": {
                        "image": "busybox",
                        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {**KEY, "optional": True}}}],
                        "envFrom": [{"prefix": "B_", "configMapRef": {"name": "words", "optional": False}}],
                        "volumes": [{"name": "data", "nfs": {"server": "a", "path": "/"}}],
                        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
                        "serviceAccountName": "robot",
                        "automountServiceAccountToken": True,
                    }
                }
            },
            {"ttlSecondsAfterFinished": 3600},
        ),
        (
            "RunRequest",
            {"task": {"job": {"template": {"spec": {"template": {"spec": {"containers": [{"any": {"thing": 1}}]}}}}}}},
            {"ttlSecondsAfterFinished": 3600},
        ),
    ],
)
async def test_a_sound_spec_is_stored_as_it_stands_with_its_defaults(
    server: Server, kind: str, spec: JSONObject, defaults: JSONObject
) -> None:
    """Free-form objects keep all their fields; the model can read the stored object strictly."""
    stored = (await server.create(kind, "sound", spec))["spec"]
    assert stored == spec | defaults
    PARSERS[kind](stored, strict=True)


@pytest.mark.parametrize(
    "change", [{"parameters": {"deep": {"a": 2}}}, {"runAt": "2027-01-01T00:00:00Z"}, {"retry": {"limit": 1}}]
)
async def test_a_request_cannot_be_changed(server: Server, change: JSONObject) -> None:
    """Its spec is immutable, including free-form objects; labels can be changed."""
    await server.create("RunRequest", "once", {"task": SUM, "parameters": {"deep": {"a": 1}}})
    with pytest.raises(RefusedError) as refused:
        await server.patch("RunRequest", "once", {"spec": change})
    (problem,) = refused.value.problems
    assert problem == FieldProblem("spec", "is immutable: delete the request and create another")
    await server.patch("RunRequest", "once", {"metadata": {"labels": {"a": "b"}}, "status": {"message": "x"}})


async def test_a_requests_name_has_room_for_its_jobs(server: Server) -> None:
    """The Job's name contains a part of the uid; no Job is named after a target."""
    with pytest.raises(RefusedError) as refused:
        await server.create("RunRequest", "a" * 53, {"task": SUM})
    hint = "must be at most 52 characters long"
    assert [hint in p.message for p in refused.value.problems] == [True]
    assert [hint in p.message for p in name_problems("a" * 53)] == [True]
    await server.create("RunRequest", "a" * 52, {"task": SUM})
    await server.create("HTTPTarget", "a" * 53, target())


async def test_an_object_of_another_release_is_read(server: Server) -> None:
    """Unknown fields, of an older or newer release, are ignored."""
    assert parse_request_spec({"task": SUM, "once": True}, strict=False).task is not None
    assert parse_target_spec(target(proxy="x"), strict=False).url == "https://example.com/"
    stored = await server.create("RunRequest", "plain", {"task": SUM})
    assert parse_request_spec(stored["spec"], strict=False).ttl_seconds_after_finished == 3600
