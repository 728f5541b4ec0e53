"""The Secret that runner pods read their database from: one in each namespace that has tasks."""

import asyncio
from collections import defaultdict

from carillon_core.domain.launch.manifest import RUNNER_SECRET_KEY
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.ports import SecretWriter

log = get_logger(__name__)


class RunnerSecret:
    """Keeps the Secret there: made before a namespace's first launch, looked at again with every sweep."""

    def __init__(self, cluster: SecretWriter, name: str, database_url: str) -> None:
        """Take the Secret's name and what is in it."""
        self._cluster = cluster
        self._name = name
        self._data = {RUNNER_SECRET_KEY: database_url}
        self._ensured: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, namespace: str) -> None:
        """Create or mend the Secret of a namespace unless that was done already; namespaces do not wait for others."""
        if namespace in self._ensured:
            return
        async with self._locks[namespace]:
            if namespace not in self._ensured:
                await self._cluster.ensure_runner_secret(namespace, self._name, self._data)
                self._ensured.add(namespace)

    async def repair(self, namespaces: set[str]) -> None:
        """Look at the Secrets of those namespaces again, for somebody may have deleted one; forget the others."""
        self._ensured &= namespaces
        for namespace in sorted(self._ensured):
            try:
                await self._cluster.ensure_runner_secret(namespace, self._name, self._data)
            except CarillonError as error:
                self._ensured.discard(namespace)
                log.warning("runner Secret not checked", namespace=namespace, secret=self._name, why=str(error))
