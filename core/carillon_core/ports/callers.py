"""The cluster as the API sees it: whose token it is, and every call made as the caller."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.ports.objects import JSONObject, ObjectKind, ObjectStore


class CallerCluster(Protocol):
    """The cluster as one caller sees it: every call is made as that subject, so that RBAC alone decides.

    Every method may raise ``ForbiddenError``, with the API server's reason.
    """

    def objects(self, kind: ObjectKind) -> ObjectStore:
        """Return the objects of a kind of ours."""
        ...

    async def review(self, access: Access) -> Decision:
        """Return whether the caller may do that, by the cluster's own authorisation (SubjectAccessReview)."""
        ...

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job and in the background its pods, provided that it is still the same object.

        Raises:
            NotFoundError: The Job is gone, or another of its name took its place.

        """
        ...

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods that a selector selects."""
        ...

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return what a pod's container has said, at most ``limit_bytes`` of it.

        Raises:
            NotFoundError: There is no such pod.
            RefusedError: The container has not begun, or the node does not know it.

        """
        ...


class APIServer(Protocol):
    """The cluster as the facade itself sees it: whom it lets in, and as whom it calls.

    Where the cluster refuses the facade's own account, here or in acting as somebody, ``OwnAccountError`` is raised.
    """

    def acting_as(self, subject: Subject | None) -> CallerCluster:
        """Return the cluster as a subject sees it; as the facade's own account if it is None."""
        ...

    async def review_token(self, token: str) -> Subject | None:
        """Return whose bearer token it is, or None if it is nobody's (TokenReview)."""
        ...

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``."""
        ...

    async def ping(self) -> None:
        """Return if the API server answers and serves our kinds; raise ``UnavailableError`` if not."""
        ...
