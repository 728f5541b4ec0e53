"""The operators under test: processes that the zygote starts and signals end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

KUBECONFIG = "operator.kubeconfig"
"""A relative path, because the official client reads KUBECONFIG on import, before the fork."""
READY = "ready"
LOG = "operator.log"


@dataclass(slots=True)
class Operator:
    """One operator process."""

    pid: int
    folder: Path
    ended: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Its exit code, negative for a signal."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.send(signal.SIGKILL)
        await asyncio.shield(self.ended)

    @property
    def ready(self) -> bool:
        """Whether it has started to decide."""
        return (self.folder / READY).exists()


class Operators:
    """Starts operators; start it with ``running``."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: asyncio.subprocess.Process | None = None
        self._ids = count(1)
        self._starting: dict[int, asyncio.Future[int]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Operators"]:
        """Run the zygote; all operators end with it."""
        environment = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG", "HOME"}}
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "faults.processes.zygote"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment | {"KUBECONFIG": KUBECONFIG},
        )
        listening = asyncio.ensure_future(self._listen(process))
        try:
            yield self
        finally:
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
            await listening

    async def start(self, folder: Path, environment: Mapping[str, str]) -> Operator:
        """Start an operator in the folder with its kubeconfig; its log goes there too."""
        if self._process is None or self._process.stdin is None:
            msg = "use it as an async context manager: async with Operators().running() as operators"
            raise RuntimeError(msg)
        (folder / READY).unlink(missing_ok=True)
        number = next(self._ids)
        loop = asyncio.get_running_loop()
        self._starting[number] = loop.create_future()
        self._ended[number] = loop.create_future()
        asked = {
            "id": number,
            "folder": str(folder),
            "environment": {
                **{key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}},
                "HOME": str(folder),
                "KUBECONFIG": KUBECONFIG,
                "CARILLON_READY_FILE": READY,
                **environment,
            },
        }
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        pid = await self._starting[number]
        return Operator(pid, folder, self._ended[number])

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        while process.stdout is not None and (line := await process.stdout.readline()):
            told = json.loads(line)
            if "pid" in told:
                self._starting.pop(told["id"]).set_result(told["pid"])
            else:
                self._ended.pop(told["id"]).set_result(told["code"])
        for waiting in (*self._starting.values(), *self._ended.values()):
            if not waiting.done():
                waiting.cancel()
