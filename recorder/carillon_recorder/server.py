"""How the recorder serves: a socket, a protocol with a time limit, and a certificate that is read again."""

import asyncio
import json
import ssl
from pathlib import Path

from carillon_core.errors import SettingsError
from carillon_core.logs import get_logger
from carillon_core.punctual import PunctualProtocol, last_answer

ARRIVAL_SECONDS = 15.0
"""How long a request may take to arrive, from the first moment of its connection; the app gives a body less."""
KEEP_ALIVE_SECONDS = 10
MAX_HEAD_BYTES = 32 * 1024
MOST_CONNECTIONS = 512
"""With TLS, each takes 0.3 MB: less than half of the memory that the chart gives. Others wait to be accepted."""
LOOK_SECONDS = 10.0
"""How often the certificate's files are looked at."""

log = get_logger(__name__)


def _refusal(status: int, code: str, detail: str, *headers: str) -> bytes:
    body = json.dumps({"code": code, "detail": detail, "inDoubt": False}).encode()
    return last_answer(status, "application/json", body, *headers)


class RecorderProtocol(PunctualProtocol):
    """A connection whose refusals ``RecorderClient`` understands."""

    arrival_seconds = ARRIVAL_SECONDS
    timed_out = _refusal(408, "TooSlow", f"the request did not arrive within {ARRIVAL_SECONDS:g} s", "retry-after: 1")


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
