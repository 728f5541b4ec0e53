"""The cluster as the API uses it: token reviews, and every request made as the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.ports.objects import JSONObject, ObjectKind, ObjectStore


@dataclass(frozen=True, slots=True)
class FirstJobs:
    """The first Jobs of a list."""

    items: Sequence[JSONObject]
    complete: bool
    """Whether they are all."""


class CallerCluster(Protocol):
    """The cluster as one caller sees it: every request is made as that subject, so that RBAC decides.

    Every method may raise ``ForbiddenError``, with the API server's reason.
    """

    def objects(self, kind: ObjectKind, *, dry_run: bool = False) -> ObjectStore:
        """Return the objects of a kind of ours.

        With ``dry_run``, the API server judges each write and returns what it would store, but stores nothing. The
        version of a changed object is the stored one, a new object has none, and its uid and creation time are made up.
        """
        ...

    async def review(self, access: Access) -> Decision:
        """Return whether the caller may do that (SubjectAccessReview)."""
        ...

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        ...

    async def list_jobs(self, namespace: str, label_selector: str, most: int) -> FirstJobs:
        """Return the first Jobs that a selector selects: at most ``most``, and no more than ``MOST_PAGE_BYTES``."""
        ...

    async def delete_job(self, namespace: str, name: str, uid: str, *, dry_run: bool = False) -> None:
        """Delete a Job, and its pods in the background, if it is still the same object; or only ask whether one may.

        Raises:
            NotFoundError: The Job is gone or has been replaced by another of its name.

        """
        ...

    async def list_pods(self, namespace: str, label_selector: str) -> Sequence[JSONObject]:
        """Return the pods that a selector selects."""
        ...

    async def pod_log(
        self, namespace: str, pod: str, *, container: str | None, tail_lines: int | None, limit_bytes: int
    ) -> bytes:
        """Return the log of a pod's container, at most ``limit_bytes`` of it.

        Raises:
            NotFoundError: The pod does not exist.
            RefusedError: The container has not started, or the node does not know it.

        """
        ...


class APIServer(Protocol):
    """The cluster as the API itself sees it: it authenticates callers and makes requests as them.

    If the cluster refuses the API's own account, every method raises ``OwnAccountError``.
    """

    def acting_as(self, subject: Subject | None) -> CallerCluster:
        """Return the cluster as a subject sees it; None means the API's own account."""
        ...

    async def review_token(self, token: str) -> Subject | None:
        """Return the subject of a bearer token, or None if the token is invalid (TokenReview)."""
        ...

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Return a Secret's data, or raise ``NotFoundError``."""
        ...

    async def mark_cancelled(self, namespace: str, job: str, uid: str, user: str) -> None:
        """Note on a Job who cancels it, with the API's own account; check first that the user may delete it.

        Raises:
            NotFoundError: The Job is gone or has been replaced by another of its name.

        """
        ...

    async def ping(self) -> None:
        """Return if the API server answers and serves our kinds; raise ``UnavailableError`` if not."""
        ...
