"""The certificate of a server, which is read again when its files change: as cert-manager or the operator renew it."""

import asyncio
import ssl
from pathlib import Path

from carillon_core.errors import SettingsError
from carillon_core.logs import get_logger

LOOK_SECONDS = 10.0
"""How often the certificate's files are looked at."""

log = get_logger(__name__)


class Certificate:
    """The certificate and its key, in files that may be replaced."""

    def __init__(self, cert: Path, key: Path, variables: tuple[str, str]) -> None:
        """Read them.

        Args:
            cert: The certificate, or a chain that begins with it, in PEM.
            key: Its private key, in PEM.
            variables: The environment variables that name the files, for messages.

        Raises:
            SettingsError: They cannot be read, or do not belong together.

        """
        self._files = (cert, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._state()
        try:
            self._load()
        except OSError as error:
            raise SettingsError(
                f"{' and '.join(variables)}: must be a certificate and its key in PEM ({error})"
            ) from error

    async def follow(self) -> None:
        """Read the files again when they change, for ever; new connections get the new certificate."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Read the files again if they have changed; keep the certificate if they cannot be read."""
        if (now := self._state()) == self._seen:
            return
        try:
            self._load()
        except OSError as error:  # between the writes of the two files: tried again at the next look
            log.warning("certificate not read, keeping the one before", why=str(error))
            return
        self._seen = now
        log.info("certificate read again")

    def _load(self) -> None:
        # into another context first: one that fails halfway must not be the one that serves
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
        self.context.load_cert_chain(*self._files)

    def _state(self) -> tuple[tuple[int, int], ...]:
        try:
            return tuple((s.st_mtime_ns, s.st_ino) for s in (file.stat() for file in self._files))
        except OSError:
            return ()
