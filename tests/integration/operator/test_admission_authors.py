"""The admission webhook asks a real API server what the author of an object may do, and refuses the rest."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import AlreadyExistsError, UnavailableError
from support.waiting import eventually
from support.webhook import Webhook, webhook

__all__ = ["webhook"]
GROUP = "/apis/rbac.authorization.k8s.io/v1"
JANE = "jane"
SUM = {"sum": {"a": 1, "b": 2}}
RUN = {"container": {"image": "busybox:1", "command": ["true"]}}
URL = "https://example.com/"
KEY = {"name": "keys", "key": "token"}
HEADER = {"name": "Authorization", "secretKeyRef": KEY}
AUTHOR = [{"apiGroups": ["carillon.dev"], "resources": ["*"], "verbs": ["get", "create", "patch", "update"]}]


async def allow(connection: KubeConnection, namespace: str, name: str, rules: list[dict[str, Any]]) -> None:
    """Give the user rights in the namespace."""
    role = {"metadata": {"name": name}, "rules": rules}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": JANE}],
    }
    for plural, body in (("roles", role), ("rolebindings", binding)):
        try:
            await connection.request("POST", f"{GROUP}/namespaces/{namespace}/{plural}", body=body)
        except AlreadyExistsError:
            await connection.request("PUT", f"{GROUP}/namespaces/{namespace}/{plural}/{name}", body=body)


@pytest.fixture
async def author(webhook: Webhook) -> AsyncIterator[Webhook]:
    """Give the webhook, running, and a user who may write our kinds and nothing else."""
    await allow(webhook.connection, webhook.namespace, "author", AUTHOR)
    async with webhook.running():
        await eventually(webhook.serves, 60)

        async def may_write() -> bool:
            return (await webhook.apply("ScheduledTask", "first", {"intervalSeconds": 60, "task": SUM}, user=JANE))[
                0
            ] == 0

        await eventually(may_write, 30)
        yield webhook


Spec = dict[str, Any]
ROBOT = {"serviceAccountName": "robot"}
REFUSED: dict[str, tuple[str, Spec, list[str]]] = {
    "a Secret in a header": (
        "HTTPTarget",
        {"url": URL, "headers": [HEADER]},
        ['spec.headers[0].secretKeyRef: user "jane" needs the permission to get secrets "keys"'],
    ),
    "a Secret that signs": (
        "HTTPTarget",
        {"url": URL, "signing": {"secretKeyRefs": [KEY]}},
        ['spec.signing.secretKeyRefs[0]: user "jane" needs the permission to get secrets "keys"'],
    ),
    "a container": (
        "ScheduledTask",
        {"intervalSeconds": 60, "task": RUN},
        ['spec.task.container: user "jane" needs the permission to create jobs.batch'],
    ),
    "a priority": (
        "ScheduledTask",
        {"intervalSeconds": 60, "task": SUM, "pod": {"priorityClassName": "system-node-critical"}},
        ['spec.pod: user "jane" needs the permission to create jobs.batch'],
    ),
    "a ServiceAccount": (
        "ScheduledTask",
        {"intervalSeconds": 60, "task": SUM, "pod": ROBOT},
        ['spec.pod.serviceAccountName: user "jane" needs the permission to impersonate serviceaccounts "robot"'],
    ),
    "a request with a container of its own": (
        "RunRequest",
        {"task": RUN, "pod": ROBOT},
        [
            'spec.task.container: user "jane" needs the permission to create jobs.batch',
            'spec.pod.serviceAccountName: user "jane" needs the permission to impersonate serviceaccounts "robot"',
        ],
    ),
}


async def test_an_author_without_the_permission_is_refused(author: Webhook) -> None:
    """The refusal names the field, the permission and the namespace; an administrator is admitted."""
    for case, (kind, spec, wanted) in REFUSED.items():
        code, said = await author.apply(kind, "made", spec, user=JANE)
        assert code == 1, case
        for sentence in wanted:
            assert sentence in said, case
        assert f'in namespace "{author.namespace}"' in said, case
    for kind, spec, _ in REFUSED.values():
        code, said = await author.apply(kind, f"admins-{kind.lower()}", spec)
        assert code == 0 or "is immutable" in said, said


async def test_an_object_that_is_large_is_judged_all_the_same(author: Webhook) -> None:
    """JSON writes each "<" in six bytes: the review of a permitted annotation is larger than most servers read."""
    padded = {"padding": "<" * 200_000}
    for kind, spec, wanted in REFUSED.values():
        code, said = await author.apply(kind, "padded", spec, annotations=padded, user=JANE, verb="create")
        assert code == 1, kind
        assert wanted[0] in said, kind


async def test_an_author_with_the_permission_is_admitted(author: Webhook) -> None:
    """The API server's own rules decide, also about a single Secret by its name."""
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["keys"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["robot"], "verbs": ["impersonate"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
    ]
    await allow(author.connection, author.namespace, "more", rules)

    async def admitted() -> bool:
        return (await author.apply("HTTPTarget", "mine", {"url": URL, "headers": [HEADER]}, user=JANE))[0] == 0

    await eventually(admitted, 30)
    for number, (kind, spec, _) in enumerate(REFUSED.values()):
        assert (await author.apply(kind, f"made-{number}", spec, user=JANE))[0] == 0
    other = {"url": URL, "headers": [{"name": "A", "secretKeyRef": {"name": "other", "key": "k"}}]}
    code, said = await author.apply("HTTPTarget", "mine", other, user=JANE)
    assert code == 1
    assert 'needs the permission to get secrets "other"' in said


async def test_a_request_with_a_task_of_its_own_needs_what_a_task_needs(author: Webhook) -> None:
    """Whoever may only request runs of tasks cannot bring a task along."""
    runner = [{"apiGroups": ["carillon.dev"], "resources": ["runrequests"], "verbs": ["get", "create", "patch"]}]
    await allow(author.connection, author.namespace, "author", runner)

    async def refused() -> bool:
        code, said = await author.apply("RunRequest", "own", {"task": SUM}, user=JANE)
        needs = 'spec.task: user "jane" needs the permission to create scheduledtasks.carillon.dev'
        return code == 1 and needs in said

    await eventually(refused, 30)
    assert (await author.apply("RunRequest", "named", {"taskRef": {"name": "first"}}, user=JANE))[0] == 0


async def test_an_update_is_judged_by_what_it_changes(author: Webhook) -> None:
    """A colleague without the permission may edit the rest, but not send the Secret to another URL."""
    before = {"url": URL, "headers": [HEADER]}
    assert (await author.apply("HTTPTarget", "shared", before))[0] == 0
    assert (await author.apply("HTTPTarget", "shared", before | {"body": "new"}, user=JANE))[0] == 0
    assert (await author.apply("HTTPTarget", "shared", before, labels={"team": "a"}, user=JANE))[0] == 0
    code, said = await author.apply("HTTPTarget", "shared", before | {"url": "https://evil.example/"}, user=JANE)
    assert code == 1
    assert 'needs the permission to get secrets "keys"' in said
    task = {"intervalSeconds": 60, "task": RUN, "pod": ROBOT}
    assert (await author.apply("ScheduledTask", "shared", task))[0] == 0
    assert (await author.apply("ScheduledTask", "shared", task | {"suspend": True}, user=JANE))[0] == 0
    other = {"container": {"image": "busybox:2", "command": ["true"]}}
    code, said = await author.apply("ScheduledTask", "shared", task | {"task": other}, user=JANE)
    assert code == 1
    assert 'needs the permission to impersonate serviceaccounts "robot"' in said


async def unavailable(_subject: Subject, _access: Access) -> Decision:
    """Fail as an API server does that does not answer."""
    raise UnavailableError("API server", "no response in time")


@pytest.mark.parametrize(("policy", "want_code", "want"), [("Fail", 1, "Error"), ("Ignore", 0, "Warning")])
async def test_an_author_who_cannot_be_checked_is_as_the_failure_policy_says(
    webhook: Webhook, policy: str, want_code: int, want: str
) -> None:
    """``Fail`` refuses, ``Ignore`` admits with a warning; either says why."""
    async with webhook.running(review_access=unavailable, failure_policy=policy):
        await eventually(webhook.serves, 60)
        code, said = await webhook.apply("ScheduledTask", "unchecked", {"intervalSeconds": 60, "task": RUN})
        assert code == want_code
        assert want in said
        assert "cannot be checked: API server is unavailable: no response in time" in said
        assert (await webhook.apply("ScheduledTask", "plain", {"intervalSeconds": 60, "task": SUM}))[0] == 0
