"""The ports of the REST API on the API server: token reviews, and requests made as the caller (``APIServer``)."""

import base64
from collections.abc import Mapping, Sequence

from carillon_core.adapters.kube.cluster import jobs_path
from carillon_core.adapters.kube.connection import JSON_PATCH, KubeConnection, segment
from carillon_core.adapters.kube.failures import as_ourselves
from carillon_core.adapters.kube.objects import DRY_RUN, KubeObjectStore
from carillon_core.adapters.kube.pages import listed
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import ConflictError, NotFoundError, RefusedError
from carillon_core.ports import MOST_PAGE_BYTES, FirstJobs, JSONObject, ObjectKind
from carillon_core.resources.names import ANNOTATION_CANCELLED_BY

_CANCELLED_BY = ANNOTATION_CANCELLED_BY.replace("/", "~1")  # as RFC 6901 escapes it
_REVIEWS = "/apis/authorization.k8s.io/v1"
_TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105  # a path


class KubeAPIServer:
    """``APIServer`` over a connection, whose own account may impersonate and ask for reviews."""

    def __init__(self, connection: KubeConnection, audiences: Sequence[str] = ()) -> None:
        """Take the connection; the caller closes it.

        Args:
            connection: To the API server.
            audiences: The audiences that a bearer token must have; empty means the API server's own.

        """
        self._connection = connection
        self._audiences = list(audiences)

    def acting_as(self, subject: Subject | None) -> "KubeCallerCluster":
        """Return the cluster as a subject sees it; None means our own account."""
        return KubeCallerCluster(self._connection, subject)

    async def review_token(self, token: str) -> Subject | None:
        """Return the subject of a bearer token, or None if the token is invalid (TokenReview)."""
        spec: JSONObject = {"token": token} | ({"audiences": self._audiences} if self._audiences else {})
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        with as_ourselves():
            answer = await self._connection.request("POST", _TOKEN_REVIEWS, body=body)
        status = answer.get("status") or {}
        user = status.get("user") or {}
        if not status.get("authenticated") or not user.get("username"):
            return None
        # an authenticator without support for audiences returns none: it has not checked them
        if self._audiences and not set(self._audiences) & set(status.get("audiences") or ()):
            return None
        return Subject(user["username"], tuple(user.get("groups") or ()))

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``."""
        path = f"/api/v1/namespaces/{segment(namespace)}/secrets/{segment(name)}"
        with as_ourselves():
            data = (await self._connection.request("GET", path)).get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    async def mark_cancelled(self, namespace: str, job: str, uid: str, user: str) -> None:
        """Note on a Job who cancels it; a patch whose test fails is a 422."""
        path = f"{jobs_path(namespace)}/{segment(job)}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": f"/metadata/annotations/{_CANCELLED_BY}", "value": user},
        ]
        try:
            with as_ourselves():
                await self._connection.request("PATCH", path, body=patch, content_type=JSON_PATCH)
        except RefusedError as error:
            raise NotFoundError(f"Job {namespace}/{job} with uid {uid} not found") from error

    async def ping(self) -> None:
        """Return if the API server answers and serves our kinds; raise ``UnavailableError`` if not."""
        await KubeObjectStore(self._connection).ping()


class KubeCallerCluster:
    """``CallerCluster``: every call carries the caller's name."""

    def __init__(self, connection: KubeConnection, subject: Subject | None) -> None:
        """Take the connection, and the subject to make requests as; None means our own account."""
        self._connection = connection
        self._subject = subject

    def objects(self, kind: ObjectKind, *, dry_run: bool = False) -> KubeObjectStore:
        """Return the objects of a kind of ours."""
        return KubeObjectStore(self._connection, kind, self._subject, dry_run=dry_run)

    async def review(self, access: Access) -> Decision:
        """Return whether the caller has this access (SubjectAccessReview, made with our own account)."""
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
            "namespace": access.namespace,
            "name": access.name,
        }
        spec: JSONObject = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
        if access.path is not None:
            spec = {"nonResourceAttributes": {"path": access.path, "verb": access.verb}}
        kind = "SelfSubjectAccessReview"
        if self._subject is not None:
            kind = "SubjectAccessReview"
            spec |= {"user": self._subject.name, "groups": list(self._subject.groups)}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        with as_ourselves():
            answer = await self._connection.request("POST", f"{_REVIEWS}/{kind.lower()}s", body=body)
        status = answer.get("status") or {}
        return Decision(bool(status.get("allowed")), str(status.get("reason") or status.get("evaluationError") or ""))

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        path = f"{jobs_path(namespace)}/{segment(name)}"
        return await self._connection.request("GET", path, subject=self._subject)

    async def list_jobs(self, namespace: str, label_selector: str, most: int) -> FirstJobs:
        """Return the first Jobs that a selector selects."""
        found: list[JSONObject] = []
        size = 0
        async for page in listed(self._connection, jobs_path(namespace), label_selector, self._subject):
            size += page.size
            if size > MOST_PAGE_BYTES:
                return FirstJobs(found, complete=False)
            found += page.items
            if len(found) > most:
                return FirstJobs(found[:most], complete=False)
        return FirstJobs(found, complete=True)

    async def delete_job(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Job once its pods have ended, if it is still the same object."""
        options: JSONObject = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        if dry_run:
            options["dryRun"] = DRY_RUN
        path = f"{jobs_path(namespace)}/{segment(name)}"
        try:
            await self._connection.request("DELETE", path, body=options, subject=self._subject)
        except ConflictError as error:
            raise NotFoundError(f"Job {namespace}/{name} with uid {uid} not found") from error

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods that a selector selects."""
        path = f"/api/v1/namespaces/{segment(namespace)}/pods"
        pages = listed(self._connection, path, label_selector, self._subject)
        return [item async for page in pages for item in page.items]

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return the log of a pod's container, at most ``limit_bytes`` of it."""
        params = {"limitBytes": str(limit_bytes)}
        if container is not None:
            params["container"] = container
        if tail_lines is not None:
            params["tailLines"] = str(tail_lines)
        path = f"/api/v1/namespaces/{segment(namespace)}/pods/{segment(pod)}/log"
        return await self._connection.read(path, params=params, subject=self._subject)
