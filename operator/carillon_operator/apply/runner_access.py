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


class MissingLoginError(CarillonError):
    """The runner pods of a namespace have no login to the database; the message says how it is created."""


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


class RunnerLogins(Protocol):
    """The logins to the database with which runner pods record."""

    def url(self, namespace: str) -> str:
        """Return the database URL for the pods of a namespace."""

    async def is_missing(self, namespace: str) -> bool:
        """Return whether it is known that the login does not exist."""


class SharedLogin:
    """One login for all namespaces."""

    def __init__(self, url: str) -> None:
        """Take its URL."""
        self._url = url

    def url(self, namespace: str) -> str:  # noqa: ARG002  # all have the same
        """Return the URL."""
        return self._url

    async def is_missing(self, namespace: str) -> bool:  # noqa: ARG002  # it is the same for all
        """Return False: an administrator has chosen it."""
        return False


class RunnerSecret:
    """Creates the Secret before a namespace's first launch, and checks it in each sweep."""

    def __init__(self, cluster: SecretWriter, name: str, logins: RunnerLogins) -> None:
        """Take the Secret's name, and the logins of which it has one."""
        self._cluster = cluster
        self._name = name
        self._logins = logins
        self._ensured: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, namespace: str) -> None:
        """Create or update the Secret of a namespace, once; namespaces do not wait for each other.

        Raises:
            MissingLoginError: The namespace's login does not exist, so its pods could not record.

        """
        if namespace in self._ensured:
            return
        async with self._locks[namespace]:
            if namespace not in self._ensured:
                if await self._logins.is_missing(namespace):
                    raise MissingLoginError(
                        f"runner pods of the namespace {namespace} have no login to the database; ask an administrator"
                        f" to run: carillon-migrate runner-role --namespace {namespace}"
                    )
                await self._write(namespace)
                self._ensured.add(namespace)

    async def repair(self, namespaces: set[str]) -> None:
        """Check the Secrets of these namespaces, since one may have been deleted; forget the other namespaces."""
        self._ensured &= namespaces
        for namespace in sorted(self._ensured):
            try:
                await self._write(namespace)
            except CarillonError as error:
                self._ensured.discard(namespace)
                log.warning("runner Secret not checked", namespace=namespace, secret=self._name, why=str(error))

    def given(self, template: RunnerTemplate) -> RunnerTemplate:
        """Return the template: its pods read the Secret."""
        return template

    async def _write(self, namespace: str) -> None:
        data = {RUNNER_SECRET_KEY: self._logins.url(namespace)}
        await self._cluster.ensure_runner_secret(namespace, self._name, data)
