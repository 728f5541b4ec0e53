"""Kubernetes Leases, by which operators elect a leader."""

from typing import Protocol

from carillon_core.ports.objects import JSONObject


class Leases(Protocol):
    """Kubernetes Leases (``coordination.k8s.io/v1``) as raw JSON; processes elect a leader by them."""

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a Lease, or raise ``NotFoundError``."""
        ...

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a Lease and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server rejected it.
            NotFoundError: The namespace does not exist.

        """
        ...

    async def update(self, lease: JSONObject) -> JSONObject:
        """Replace a Lease as it was read, and return it as stored.

        Raises:
            ConflictError: It has changed since it was read, or was replaced.
            RefusedError: The API server rejected it.
            NotFoundError: It no longer exists.

        """
        ...
