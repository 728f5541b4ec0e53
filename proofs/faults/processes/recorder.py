"""The recorder of a lane: the product's own program, which a plan can kill and start again at the same address."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from carillon_local.layout import free_port

START_SECONDS = 60
FIRST_PORT = 22_000
"""Below the ephemeral ports: a restarted recorder needs its old port."""
_OK = 200


class RecorderFailedError(Exception):
    """The recorder ended while it was starting."""


@dataclass(slots=True)
class Recorder:
    """The recorder's process; start it with ``running``."""

    database_url: str
    port: int
    log: Path
    _process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls, database_url: str, folder: Path) -> AsyncIterator["Recorder"]:
        """Run it in front of a database, with its log in the folder."""
        recorder = cls(database_url, free_port(FIRST_PORT), folder / "recorder.log")
        try:
            await recorder.start()
            yield recorder
        finally:
            await recorder.kill()

    @property
    def url(self) -> str:
        """Where runners reach it."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it as ``make run`` does, and wait until it serves.

        Raises:
            RecorderFailedError: It ended instead.
            TimeoutError: It did not serve within ``START_SECONDS``.

        """
        environment = {
            **{name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "HOME"}},
            "DATABASE_URL": self.database_url,
            "CARILLON_RECORDER_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "carillon_recorder"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as session:
            while not await self._serves(session):
                if self._process.returncode is not None:
                    raise RecorderFailedError(self.log.read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)

    async def _serves(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/healthz") as response:
                return response.status == _OK
        except aiohttp.ClientError:
            return False

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
