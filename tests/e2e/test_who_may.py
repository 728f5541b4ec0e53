"""Permissions in the API on a real cluster, with real tokens, roles and keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from carillon_cli.api_keys import create
from carillon_core.domain.access.api_keys import hash_of
from carillon_local.access import api_key_headers, install_access
from carillon_local.target import LocalTarget
from support.manifests import ONCE
from support.stack import KEYS_SECRET
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from support.stack import Stack

SPEC: dict[str, Any] = {"intervalSeconds": 3600, "suspend": True, "task": {"counter": {}}}
HTTP: dict[str, Any] = {
    "http": {"url": "http://u:pa55w0rd@127.0.0.1:9/", "headers": {"Authorization": "Bearer s3cr3t"}}
}
EDITOR = ("carillon-view", "carillon-run", "carillon-edit", "carillon-audit")
CACHE_SECONDS = 30
"""Longer than any cached response lasts while the API server is available."""


@pytest.fixture(scope="module")
def spaces(stack: Stack) -> Iterator[tuple[str, str]]:
    """Give two namespaces."""
    with stack.new_namespace() as mine, stack.new_namespace() as yours:
        yield mine, yours


@pytest.fixture(scope="module")
def users(stack: Stack, spaces: tuple[str, str]) -> Iterator[dict[str, httpx.Client]]:
    """Give an editor of each namespace, a viewer of the first, and a user without permissions."""
    mine, yours = spaces
    made = {
        "mine": stack.user(mine, "editor", *EDITOR),
        "yours": stack.user(yours, "editor", *EDITOR),
        "viewer": stack.user(mine, "viewer", "carillon-view"),
        "nobody": stack.user(mine, "nobody"),
    }
    yield made
    for client in made.values():
        client.close()


def tasks(namespace: str) -> str:
    """Return the path of a namespace's tasks."""
    return f"/api/v1/namespaces/{namespace}/tasks"


def elsewhere() -> dict[str, str]:
    """Return the header for a request from a unique address, so that its failures are counted separately."""
    return {"X-Forwarded-For": f"2001:db8:1{uuid4().hex[:3]}:1{uuid4().hex[:3]}::1"}


def test_each_sees_only_what_is_its_own(stack: Stack, spaces: tuple[str, str], users: dict[str, httpx.Client]) -> None:
    """For two editors, tasks, executions and audit of the other namespace are forbidden, and lists of all, too."""
    mine, yours = spaces
    for who, namespace in (("mine", mine), ("yours", yours)):
        created = users[who].post(tasks(namespace), json={"name": "own", "spec": {**ONCE, "task": {"counter": {}}}})
        assert created.status_code == 201, created.text
        stack.await_rows(namespace, "own", 1)
    for path in (
        tasks(yours),
        f"{tasks(yours)}/own",
        f"/api/v1/audit?namespace={yours}",
        "/api/v1/tasks",
        "/api/v1/audit",
    ):
        refused = users["mine"].get(path)
        assert refused.status_code == 403, path
        assert f"system:serviceaccount:{mine}:editor" in refused.json()["detail"]
    assert [t["name"] for t in users["mine"].get(tasks(mine)).json()["items"]] == ["own"]
    assert users["mine"].delete(f"{tasks(yours)}/own").status_code == 403
    assert users["mine"].post(tasks(yours), json={"name": "new", "spec": SPEC}).status_code == 403


def test_a_viewer_cannot_change(spaces: tuple[str, str], users: dict[str, httpx.Client]) -> None:
    """Reading is allowed, changes are forbidden, and only the operator has changed anything."""
    path = f"{tasks(spaces[0])}/seen"
    unchanged = ("uid", "generation", "labels", "spec")
    assert users["mine"].post(tasks(spaces[0]), json={"name": "seen", "spec": SPEC}).status_code == 201
    before = users["viewer"].get(path)
    assert before.status_code == 200
    answers = {
        "create": users["viewer"].post(tasks(spaces[0]), json={"name": "b", "spec": SPEC}),
        "replace": users["viewer"].put(path, json={"spec": SPEC}),
        "patch": users["viewer"].patch(path, json={"spec": {"suspend": False}}),
        "delete": users["viewer"].delete(path),
    }
    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 403)
    after = users["viewer"].get(path).json()
    assert [after[part] for part in unchanged] == [before.json()[part] for part in unchanged]
    assert users["viewer"].get(f"/api/v1/audit?namespace={spaces[0]}").status_code == 403


def test_the_audit_says_who_changed_what_and_hides_secrets(
    stack: Stack, spaces: tuple[str, str], users: dict[str, httpx.Client]
) -> None:
    """Create, patch and delete are listed with author and content, newest first; passwords are not, nor in the log."""
    mine, path = spaces[0], f"{tasks(spaces[0])}/audited"
    spec = {**SPEC, "task": HTTP}
    sent = elsewhere()
    assert users["mine"].post(tasks(mine), json={"name": "audited", "spec": spec}, headers=sent).status_code == 201
    assert users["mine"].patch(path, json={"spec": {"timeoutSeconds": 7}}).status_code == 200
    assert users["mine"].delete(path).status_code == 204

    def events() -> list[dict[str, Any]]:
        query = f"/api/v1/audit?namespace={mine}&resource=scheduledtasks&name=audited"
        found: list[dict[str, Any]] = users["mine"].get(query).raise_for_status().json()["items"]
        return found

    until(lambda: len(events()) == 3, 30, "the audit has three events")
    deleted, patched, created = events()
    assert [e["action"] for e in (created, patched, deleted)] == ["create", "update", "delete"]
    assert {e["subject"] for e in events()} == {f"system:serviceaccount:{mine}:editor"}
    assert {e["credential"] for e in events()} == {"token"}
    assert created["source"] == sent["X-Forwarded-For"]
    assert created["before"] is None
    assert created["after"]["spec"]["task"]["http"]["headers"] == {"Authorization": "***"}
    assert patched["after"]["spec"]["timeoutSeconds"] == 7
    assert deleted["before"]["spec"] == patched["after"]["spec"]
    assert deleted["after"] is None
    for secret in ("s3cr3t", "pa55w0rd"):
        assert secret not in str(events())
        assert secret not in stack.log("api")


def test_a_key_is_rotated_and_the_old_one_stops(stack: Stack, spaces: tuple[str, str]) -> None:
    """Both work while both are stored; later, the old one fails; keys and hashes are not in the log."""
    user = f"system:serviceaccount:{spaces[0]}:editor"
    stack.kubectl(
        "create", "rolebinding", "key-lists", "-n", spaces[0], "--clusterrole=carillon-view", f"--user={user}"
    )
    first = create("rotated", user, (), None, None)
    second = create("rotated", user, (), None, hash_of(first.key))
    alone = create("rotated", user, (), None, None)
    manager = ("--server-side", "--force-conflicts", "--field-manager", "carillon-api-key-rotated")

    def apply(manifest: str) -> None:
        stack.kubectl("apply", *manager, "--filename", "-", stdin=manifest)

    def status(key: str) -> int:
        with stack.client({"X-API-Key": key, **elsewhere()}) as client:
            return client.get(tasks(spaces[0])).status_code

    apply(first.manifest)
    until(lambda: status(first.key) == 200, CACHE_SECONDS, "the first key works", 0.5)
    apply(second.manifest)
    until(lambda: status(second.key) == 200, CACHE_SECONDS, "the second key works", 0.5)
    assert status(first.key) == 200
    apply(alone.manifest)
    until(lambda: status(first.key) == 401, CACHE_SECONDS, "the first key stops", 0.5)
    assert (status(second.key), status(alone.key)) == (401, 200)
    for made in (first, second, alone):
        for secret in (made.key, made.key.rpartition("_")[2], hash_of(made.key).removeprefix("sha256:")):
            assert secret not in stack.log("api")


def test_a_key_calls_as_its_user_and_no_more(stack: Stack, spaces: tuple[str, str]) -> None:
    """RBAC treats the key's user like the user's token; the audit names the key."""
    made = create("viewing", "viewing@example.com", ["readers"], None, None)
    stack.kubectl("apply", "--server-side", "--field-manager", "k", "--filename", "-", stdin=made.manifest)
    stack.kubectl(
        "create", "rolebinding", "key-group", "-n", spaces[1], "--clusterrole=carillon-edit", "--group=readers"
    )
    with stack.client({"X-API-Key": made.key, **elsewhere()}) as client:

        def post() -> int:
            return client.post(tasks(spaces[1]), json={"name": "by-key", "spec": SPEC}).status_code

        until(lambda: post() in {201, 409}, CACHE_SECONDS, "the key works", 0.5)
        assert client.get(tasks(spaces[1])).status_code == 403
        assert client.post(tasks(spaces[0]), json={"name": "by-key", "spec": SPEC}).status_code == 403
    query = f"/api/v1/audit?namespace={spaces[1]}&name=by-key"
    until(lambda: bool(stack.http.get(query).json()["items"]), 30, "the audit has it")
    (event,) = stack.http.get(query).json()["items"]
    assert (event["subject"], event["credential"]) == ("viewing@example.com", "api-key:viewing")


def test_make_run_has_a_user_with_a_key(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its owner can read the key; it authenticates that user, and a restart keeps it."""
    monkeypatch.setattr("carillon_local.access.API_KEY", tmp_path / "api-key")
    monkeypatch.setattr("carillon_local.access.FACADE_KUBECONFIG", tmp_path / "facade.kubeconfig")
    target = LocalTarget(stack.cluster, stack.cluster.kubeconfig)
    told = install_access(target)
    assert told == {"KUBECONFIG": str(tmp_path / "facade.kubeconfig"), "CARILLON_API_KEYS_SECRET": KEYS_SECRET}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with stack.client({**api_key_headers(), **elsewhere()}) as client:
        until(lambda: client.get("/api/v1/executions").is_success, CACHE_SECONDS, "the key works", 0.5)
        for path in ("/api/v1/tasks", "/api/v1/audit"):
            assert client.get(path).status_code == 200, path
    before = api_key_headers()
    install_access(target)
    assert api_key_headers() == before
    (tmp_path / "api-key").unlink()
    install_access(target)
    assert api_key_headers() != before


def test_the_token_of_a_deleted_account_ends(stack: Stack, namespace: str) -> None:
    """It ends within the cache's lifetime; the token is in no log."""
    client = stack.user(namespace, "leaving", "carillon-view")
    with client:
        until(lambda: client.get(tasks(namespace)).status_code == 200, 10, "the role works")
        stack.kubectl("delete", "serviceaccount", "leaving", "--namespace", namespace)
        until(lambda: client.get(tasks(namespace)).status_code == 401, CACHE_SECONDS, "the token ends", 0.5)
        token = client.headers["Authorization"].removeprefix("Bearer ")
    assert token not in stack.log("api")


def operations(stack: Stack) -> list[tuple[str, str]]:
    """Return every operation that requires authentication, with names that no object has."""
    document = stack.http.get("/openapi.json").json()
    uid = str(uuid4())
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: uid if found[1] == "id" else "none", path))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation.get("security") and {} not in operation["security"]
    ]


CREDENTIALS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "another scheme": [("Authorization", "Basic YWRtaW46YWRtaW4=")],
    "no token": [("Authorization", "Bearer")],
    "a token of nobody": [("Authorization", "Bearer nobodys")],
    "a key of nobody": [("X-API-Key", "crl_nobody_" + "a" * 32)],
    "no key": [("X-API-Key", "nobody")],
    "two tokens": [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    "a token and a key": [("Authorization", "Bearer a"), ("X-API-Key", "crl_nobody_" + "a" * 32)],
    "a user's name": [("Impersonate-User", "system:admin"), ("X-Remote-User", "admin")],
}


@pytest.mark.parametrize("case", CREDENTIALS)
def test_no_operation_is_open(stack: Stack, case: str) -> None:
    """The response is 401 with WWW-Authenticate for each operation of the document, and for an unknown path."""
    with stack.client({}) as client:
        for method, path in [*operations(stack), ("GET", "/api/v1/none"), ("GET", "/none")]:
            answer = client.request(method, path, headers=[*CREDENTIALS[case], *elsewhere().items()])
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer"), path
            assert answer.headers["content-type"] == "application/problem+json"


def test_no_operation_serves_who_has_no_role(stack: Stack, users: dict[str, httpx.Client]) -> None:
    """The response is 403, or an error of the request itself; only ``/me`` says who the caller is, to anyone."""
    me = users["nobody"].get("/api/v1/me").raise_for_status().json()
    assert (me["namespaces"], any(me["everywhere"].values())) == ([], False)
    for method, path in operations(stack):
        if path == "/api/v1/me":
            continue
        answer = users["nobody"].request(method, path, json={"name": "a", "spec": SPEC})
        # without a row there is no namespace to check, and an invalid body is rejected earlier
        assert answer.status_code in {403, 404, 415, 422}, (method, path, answer.text)


def test_impersonation_headers_of_a_caller_change_nothing(
    spaces: tuple[str, str], users: dict[str, httpx.Client]
) -> None:
    """This holds for the headers themselves, and for names that contain them."""
    headers = {"Impersonate-User": "system:admin", "Impersonate-Group": "system:masters", "Impersonate-Uid": "0"}
    assert users["nobody"].get(tasks(spaces[0]), headers=headers).status_code == 403
    for smuggled in ("a%0d%0aImpersonate-User:%20system:admin", "a%00", "..%2f..%2fapi%2fv1%2fsecrets", "a%3fwatch=1"):
        answer = users["mine"].get(f"{tasks(spaces[0])}/{smuggled}")
        assert answer.status_code in {404, 422}, smuggled


def test_guesses_are_bounded_by_address(stack: Stack) -> None:
    """After some 401s, an address has to wait, but not other addresses or known callers."""
    guesser = elsewhere()
    known = dict(stack.http.headers)["authorization"]
    assert stack.http.get("/api/v1/tasks", headers=guesser).status_code == 200
    with stack.client({}) as client:

        def guess(headers: dict[str, str]) -> httpx.Response:
            return client.get("/api/v1/tasks", headers={"Authorization": f"Bearer {uuid4().hex}", **headers})

        answers = [guess(guesser) for _ in range(40)]
        assert {a.status_code for a in answers} == {401, 429}
        # a slow test is given back a guess meanwhile
        assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 429)
        assert guess(elsewhere()).status_code == 401
        assert client.get("/api/v1/tasks", headers={"Authorization": known, **guesser}).status_code == 200


def test_every_answer_tells_the_callers_limit(stack: Stack) -> None:
    """They are the structured fields of the draft; probes and documents have none."""
    headers = stack.http.get("/api/v1/tasks").headers
    assert headers["ratelimit-policy"] == '"default";q=100;w=2'
    assert re.fullmatch(r'"default";r=\d+;t=\d+', headers["ratelimit"])
    assert "ratelimit" not in stack.http.get("/healthz").headers


def test_a_change_is_audited_though_the_database_was_away_or_the_process_told_to_stop(
    stack: Stack, namespace: str
) -> None:
    """The change is immediate; its event is stored when the database is available, and before the process ends."""
    query = f"/api/v1/audit?namespace={namespace}"
    stack.postgres.stop()
    assert stack.http.post(tasks(namespace), json={"name": "meanwhile", "spec": SPEC}).status_code == 201
    assert stack.http.get(query).status_code == 503
    assert stack.postgres.start() == stack.database_url
    until(lambda: bool(stack.http.get(query).json().get("items")), 60, "the event is written")
    assert stack.http.post(tasks(namespace), json={"name": "last", "spec": SPEC}).status_code == 201
    assert stack.end("api") == 0
    stack.start_api()
    found = stack.http.get(query).raise_for_status().json()["items"]
    assert [event["name"] for event in found] == ["last", "meanwhile"]


def test_the_history_is_readable_while_the_api_server_is_down(
    stack: Stack, spaces: tuple[str, str], users: dict[str, httpx.Client]
) -> None:
    """Recent readers can read it, but not tasks, and no new caller is accepted. Afterwards, everything works again."""
    history = f"/api/v1/executions?namespace={spaces[0]}"
    before = users["mine"].get(history)
    assert before.status_code == 200
    stack.cluster.stop()
    try:
        assert users["mine"].get(history).json() == before.json()
        missing = users["mine"].get(tasks(spaces[0]))
        assert (missing.status_code, "API server" in missing.json()["detail"]) == (503, True)
        with stack.client({"Authorization": "Bearer new", **elsewhere()}) as stranger:
            assert stranger.get(history).status_code == 503
    finally:
        stack.cluster.start()
    until(lambda: users["mine"].get(tasks(spaces[0])).status_code == 200, 60, "tasks are readable again", 0.5)


def test_an_editor_needs_the_rights_that_an_object_uses(
    stack: Stack, spaces: tuple[str, str], users: dict[str, httpx.Client]
) -> None:
    """Over REST the caller is the author; without a permission on Secrets or Jobs, the webhook refuses the object."""
    mine, _ = spaces
    header = {"name": "Authorization", "secretKeyRef": {"name": "keys", "key": "token"}}
    leak = {"name": "leak", "spec": {"url": "https://example.com/", "headers": [header]}}
    refused = users["mine"].post(f"/api/v1/namespaces/{mine}/targets", json=leak)
    assert refused.status_code == 403, refused.text
    assert 'needs the permission to get secrets \\"keys\\"' in refused.text
    run = {"container": {"image": "busybox:1", "command": ["true"]}}
    own = users["mine"].post(tasks(mine), json={"name": "runs", "spec": {**SPEC, "task": run}})
    assert own.status_code == 403, own.text
    assert "spec.task.container" in own.text
    assert stack.http.post(f"/api/v1/namespaces/{mine}/targets", json=leak).status_code == 201
    path = f"/api/v1/namespaces/{mine}/targets/leak"
    merge = {"Content-Type": "application/merge-patch+json"}
    elsewhere_url = {"spec": {"url": "https://evil.example/"}}
    assert users["mine"].patch(path, json=elsewhere_url, headers=merge).status_code == 403
    assert users["mine"].patch(path, json={"spec": {"body": "hello"}}, headers=merge).status_code == 200
