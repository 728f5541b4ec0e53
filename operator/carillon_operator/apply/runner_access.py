"""What runner pods need in order to record: the recorder's address, or a Secret with a database URL.

The launcher asks it before each launch. With a recorder, nothing is written into
the namespaces.
"""

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Protocol

from carillon_core.domain.launch.manifest import RUNNER_SECRET_KEY, RecorderAddress, RunnerTemplate
from carillon_core.errors import CarillonError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import SecretWriter
from carillon_operator.recorder_settings import RecorderSettings

log = get_logger(__name__)


class RunnerAccess(Protocol):
    """How runner pods are told where to record."""

    async def ensure(self, namespace: str) -> None:
        """Have everything in the namespace that its runner pods need."""

    async def repair(self, namespaces: set[str]) -> None:
        """Check it in these namespaces; forget the others."""

    def given(self, template: RunnerTemplate) -> RunnerTemplate:
        """Return the template with what its pods are told."""


class RecorderAccess:
    """The recorder's address, with the certificates to trust as they are now."""

    def __init__(self, settings: RecorderSettings) -> None:
        """Read no file yet."""
        self._settings = settings
        self._address = RecorderAddress(settings.url)
        self._seen: tuple[int, int] | None = None

    async def ensure(self, namespace: str) -> None:
        """Write nothing: the pod is told all."""

    async def repair(self, namespaces: set[str]) -> None:
        """Write nothing."""

    def given(self, template: RunnerTemplate) -> RunnerTemplate:
        """Read the certificates again if their file has changed.

        Raises:
            UnavailableError: They have never been readable: a pod without them could not record.

        """
        file = self._settings.ca_file
        if file is not None:
            try:
                state = file.stat()
                if (seen := (state.st_mtime_ns, state.st_ino)) != self._seen:
                    self._address = replace(self._address, ca=file.read_text(encoding="ascii"))
                    self._seen = seen
            except (OSError, ValueError) as error:
                if self._seen is None:
                    why = f"CARILLON_RECORDER_CA_FILE cannot be read: {error}"
                    raise UnavailableError("the recorder's CA", why) from error
                log.warning("certificates of the recorder not read, keeping those before", why=str(error))
        return replace(template, recorder=self._address)


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

    def given(self, template: RunnerTemplate) -> RunnerTemplate:
        """Return the template: its pods read the Secret."""
        return template
