"""The API server in memory as the facade uses it: users, their permissions, and all objects; for tests."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.adapters.selectors import selector_of
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import ForbiddenError, NotFoundError, RefusedError, UnavailableError
from carillon_core.ports import MOST_PAGE_BYTES, FirstJobs, JSONObject, ObjectKind, ObjectPage
from carillon_core.resources import names

_PLURALS: Mapping[ObjectKind, str] = {
    "ScheduledTask": names.PLURAL,
    "RunRequest": names.PLURAL_REQUESTS,
    "HTTPTarget": names.PLURAL_TARGETS,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A permission of a user: a rule of RBAC, with ``*`` for anything."""

    verbs: Collection[str]
    resources: Collection[str]
    namespace: str | None = None
    """The namespace; None means all namespaces, and lists of all namespaces."""

    def allows(self, access: Access) -> bool:
        """Return whether the rule allows this access."""
        if access.path is not None:
            return access.verb in self.verbs and access.path in self.resources
        resource = access.resource if access.subresource is None else f"{access.resource}/{access.subresource}"
        return (
            bool({access.verb, "*"} & set(self.verbs))
            and bool({resource, "*"} & set(self.resources))
            and self.namespace in {None, access.namespace}
        )


@dataclass
class MemoryAPIServer:
    """``APIServer`` over dictionaries.

    Attributes:
        stores: The objects by kind.
        cluster: The Jobs and the pods.
        tokens: The subject of each bearer token.
        rules: The permissions of each user, by name; None stands for the facade's own account, which may do anything.
        secrets: The Secrets' data by namespace and name.
        logs: The log of each pod, by namespace and name.

    """

    namespaces: Collection[str] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    tokens: dict[str, Subject] = field(default_factory=dict)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    secrets: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    logs: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start empty."""
        kinds: tuple[ObjectKind, ...] = ("ScheduledTask", "RunRequest", "HTTPTarget")
        self.stores = {kind: MemoryObjectStore(self.namespaces, self.clock, kind) for kind in kinds}
        self.cluster = MemoryCluster(self.stores["ScheduledTask"], self.clock)

    @property
    def tasks(self) -> MemoryObjectStore:
        """The ScheduledTasks."""
        return self.stores["ScheduledTask"]

    @property
    def outage(self) -> str | None:
        """While it is set, every call raises ``UnavailableError`` with it."""
        return self.tasks.outage

    @outage.setter
    def outage(self, why: str | None) -> None:
        for store in self.stores.values():
            store.outage = why
        self.cluster.outage = why

    def acting_as(self, subject: Subject | None) -> "MemoryCallerCluster":
        """Return the cluster as a subject sees it; None means the facade's own account."""
        return MemoryCallerCluster(self, subject)

    async def review_token(self, token: str) -> Subject | None:
        """Return the subject of a bearer token, or None if the token is invalid."""
        await self.ping()
        return self.tokens.get(token)

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``."""
        await self.ping()
        try:
            return dict(self.secrets[namespace, name])
        except KeyError:
            raise NotFoundError(f'secrets "{name}" not found') from None

    async def mark_cancelled(self, namespace: str, job: str, uid: str, user: str) -> None:
        """Note on a Job who cancels it."""
        await self.ping()
        self.cluster.annotate_job(namespace, job, uid, {names.ANNOTATION_CANCELLED_BY: user})

    async def ping(self) -> None:
        """Return if no outage is set; raise ``UnavailableError`` if one is."""
        await self.tasks.ping()

    def decide(self, subject: Subject | None, access: Access) -> Decision:
        """Return the decision according to the rules."""
        if subject is None or any(rule.allows(access) for rule in self.rules.get(subject.name, ())):
            return Decision(allowed=True)
        return Decision(allowed=False)


class MemoryCallerCluster:
    """``CallerCluster`` over a ``MemoryAPIServer``."""

    def __init__(self, server: MemoryAPIServer, subject: Subject | None) -> None:
        """Take the subject to make requests as."""
        self._server = server
        self._subject = subject

    def objects(self, kind: ObjectKind, *, dry_run: bool = False) -> "GuardedStore":
        """Return the objects of a kind of ours."""
        store = self._server.stores[kind]
        return GuardedStore(store.rehearsal() if dry_run else store, kind, self._check)

    async def review(self, access: Access) -> Decision:
        """Return whether the caller has this access."""
        await self._server.ping()
        return self._server.decide(self._subject, access)

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        self._check("get", "jobs", namespace, name, group="batch")
        return await self._server.cluster.get_job(namespace, name)

    async def list_jobs(self, namespace: str, label_selector: str, most: int) -> FirstJobs:
        """Return the first Jobs that a selector selects."""
        self._check("list", "jobs", namespace, group="batch")
        selected = selector_of(label_selector)
        jobs = self._server.cluster.jobs.items()
        own = [j for (where, _), j in jobs if where == namespace and selected(j["metadata"].get("labels") or {})]
        sizes = accumulate(len(json.dumps(job)) for job in own)
        first = [job for job, size in zip(own[:most], sizes, strict=False) if size <= MOST_PAGE_BYTES]
        return FirstJobs(first, complete=len(first) == len(own))

    async def delete_job(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Job and its pods, if it is still the same object."""
        self._check("delete", "jobs", namespace, name, group="batch")
        if dry_run:
            job = await self._server.cluster.get_job(namespace, name)
            if job["metadata"]["uid"] != uid:
                raise NotFoundError(f"Job {namespace}/{name} with uid {uid} not found")
            return
        await self._server.cluster.delete_job(namespace, name, uid)

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods whose labels have each ``key=value`` of the selector."""
        self._check("list", "pods", namespace, group="")
        wanted = dict(term.split("=", 1) for term in label_selector.split(",") if term)
        pods = self._server.cluster.pods.items()
        return [p for (where, _), p in pods if where == namespace and wanted.items() <= p["metadata"]["labels"].items()]

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return the log of a pod, at most ``limit_bytes`` of it."""
        self._check("get", "pods", namespace, pod, group="", subresource="log")
        names = [
            each["name"]
            for each in self._server.cluster.pods.get((namespace, pod), {}).get("spec", {}).get("containers", ())
        ]
        if container not in names and (container is not None or len(names) > 1):
            raise RefusedError(f"a container name must be specified for pod {pod}, choose one of: {names}")
        try:
            text = self._server.logs[namespace, pod]
        except KeyError:
            raise NotFoundError(f'pods "{pod}" not found') from None
        lines = text.splitlines(keepends=True)
        return b"".join(lines if tail_lines is None else lines[max(len(lines) - tail_lines, 0) :])[:limit_bytes]

    def _check(self, verb: str, resource: str, namespace: str | None, name: str | None = None, **more: Any) -> None:
        if self._server.outage is not None:
            raise UnavailableError("API server", self._server.outage)
        access = Access(verb=verb, resource=resource, namespace=namespace, name=name, **more)
        if self._subject is not None and not self._server.decide(self._subject, access).allowed:
            what = f'{resource}.{access.group} "{name or ""}"'
            raise ForbiddenError(
                f'{what} is forbidden: User "{self._subject.name}" cannot {verb} resource "{resource}"'
            )


class GuardedStore:
    """``ObjectStore`` that checks the rules before each call."""

    def __init__(self, store: MemoryObjectStore, kind: ObjectKind, check: Callable[..., None]) -> None:
        """Take the store, and the cluster that checks permissions."""
        self._store = store
        self._plural = _PLURALS[kind]
        self._check = check

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored."""
        self._check("create", self._plural, namespace)
        return await self._store.create(namespace, body)

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        self._check("get", self._plural, namespace, name)
        return await self._store.get(namespace, name)

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all, ordered by namespace and name."""
        self._check("list", self._plural, namespace)
        return await self._store.list(namespace, label_selector)

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects from where the page before ended."""
        self._check("list", self._plural, namespace)
        return await self._store.page(
            namespace, limit=limit, label_selector=label_selector, continue_token=continue_token
        )

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object."""
        self._check("update", self._plural, namespace, name)
        return await self._store.replace(namespace, name, body)

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396)."""
        self._check("patch", self._plural, namespace, name)
        return await self._store.patch(namespace, name, patch)

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object."""
        self._check("delete", self._plural, namespace, name)
        await self._store.delete(namespace, name, resource_version)
