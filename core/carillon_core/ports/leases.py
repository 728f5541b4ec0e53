"""Kubernetes Leases, by which operators elect a leader."""

from typing import Protocol

from carillon_core.ports.objects import JSONObject


class Leases(Protocol):
    """Kubernetes' Leases (``coordination.k8s.io/v1``), raw: by them processes agree on who of them leads."""

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a Lease, or raise ``NotFoundError``."""
        ...

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a Lease and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server refused it.
            NotFoundError: There is no such namespace.

        """
        ...

    async def update(self, lease: JSONObject) -> JSONObject:
        """Replace a Lease as it was read, and return it as stored.

        Raises:
            ConflictError: It is not as it was read any more, or is another of its name.
            RefusedError: The API server refused it.
            NotFoundError: It is gone.

        """
        ...
