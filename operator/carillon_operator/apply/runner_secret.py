"""The Secret with the database URL of runner pods: one in each namespace that has tasks."""

import asyncio
from collections import defaultdict

from carillon_core.domain.launch.manifest import RUNNER_SECRET_KEY
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.ports import SecretWriter

log = get_logger(__name__)


class RunnerSecret:
    """Creates the Secret before a namespace's first launch, and checks it in each sweep."""

    def __init__(self, cluster: SecretWriter, name: str, database_url: str) -> None:
        """Take the Secret's name and content."""
        self._cluster = cluster
        self._name = name
        self._data = {RUNNER_SECRET_KEY: database_url}
        self._ensured: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, namespace: str) -> None:
        """Create or update the Secret of a namespace, once; namespaces do not wait for each other."""
        if namespace in self._ensured:
            return
        async with self._locks[namespace]:
            if namespace not in self._ensured:
                await self._cluster.ensure_runner_secret(namespace, self._name, self._data)
                self._ensured.add(namespace)

    async def repair(self, namespaces: set[str]) -> None:
        """Check the Secrets of these namespaces, since one may have been deleted; forget the other namespaces."""
        self._ensured &= namespaces
        for namespace in sorted(self._ensured):
            try:
                await self._cluster.ensure_runner_secret(namespace, self._name, self._data)
            except CarillonError as error:
                self._ensured.discard(namespace)
                log.warning("runner Secret not checked", namespace=namespace, secret=self._name, why=str(error))
