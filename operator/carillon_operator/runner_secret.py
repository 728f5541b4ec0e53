"""The Secret that runner pods read their database from: one in each namespace that has tasks."""

import asyncio

from carillon_core.domain.manifest import RUNNER_SECRET_KEY
from carillon_core.ports import Cluster


class RunnerSecret:
    """Keeps the Secret there, once for each namespace and again with every sweep."""

    def __init__(self, cluster: Cluster, name: str, database_url: str) -> None:
        """Take the Secret's name and what is in it."""
        self._cluster = cluster
        self._name = name
        self._data = {RUNNER_SECRET_KEY: database_url}
        self._ensured: set[str] = set()
        self._lock = asyncio.Lock()

    async def ensure(self, namespace: str) -> None:
        """Create or mend the Secret of a namespace unless that was done already."""
        if namespace in self._ensured:
            return
        async with self._lock:
            if namespace not in self._ensured:
                await self._cluster.ensure_runner_secret(namespace, self._name, self._data)
                self._ensured.add(namespace)

    def doubt(self) -> None:
        """Have every namespace looked at again with its next launch: somebody may have deleted the Secret."""
        self._ensured.clear()
