"""How the recorder serves: a socket, a protocol with a time limit, and a certificate that is read again."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from carillon_core.errors import SettingsError
from carillon_core.logs import get_logger

HEAD_SECONDS = 10.0
"""How long the head of a request may take to arrive, from the first moment of its connection."""
KEEP_ALIVE_SECONDS = 10
MAX_HEAD_BYTES = 32 * 1024
MOST_CONNECTIONS = 4096
"""Beyond, requests are answered 503 before the app is called."""
LOOK_SECONDS = 10.0
"""How often the certificate's files are looked at."""

log = get_logger(__name__)


class PunctualProtocol(H11Protocol):
    """uvicorn's protocol, which ends a connection whose request head takes too long."""

    head_seconds = HEAD_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timer: a client that sends nothing occupies a connection, too."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process bytes; the timer runs while the head of a request is incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()


class Certificate:
    """The certificate and its key, in files that may be replaced."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Read them.

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
            names = "CARILLON_RECORDER_CERT_FILE and CARILLON_RECORDER_KEY_FILE"
            raise SettingsError(f"{names}: must be a certificate and its key in PEM ({error})") from error

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
