"""Reads the ends of the logs of containers that failed, for their rows. ``Closer`` asks for them.

A row waits for its log, but not for long: after ``MOST_SECONDS`` it is recorded
without, with the termination message alone. Few logs are read at a time, so a
flood of failures costs the API server no more than a few.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from uuid import UUID

from carillon_core.domain.observed.log_ends import log_end
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.errors import CarillonError, ForbiddenError
from carillon_core.logs import get_logger
from carillon_core.ports import LogReader

log = get_logger(__name__)

READERS = 8
MOST_SECONDS = 2.0
"""How long a row waits for its log, the wait for a reader included."""
TAILS = (600, 20)
"""How many last lines are read; if those are too long, the API server cuts off their end, and fewer are read."""
MOST_READ = 256 * 1024
FORBIDDEN_SECONDS = 300.0
HINT = "allow the operator's role to get pods/log, see charts/carillon/files/rbac/operator-logs.yaml"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A log that is to be read."""

    execution: UUID
    namespace: str
    pod: PodEnd
    until: float
    then: Callable[[str], None]


class FailedLogs:
    """Reads logs, and calls back with the end of each, or with nothing if it cannot be read in time."""

    def __init__(self, cluster: LogReader) -> None:
        """Take where to read; nothing is read yet."""
        self._cluster = cluster
        self._wanted: asyncio.Queue[_Wanted] = asyncio.Queue()
        self._waiting: set[UUID] = set()
        self._forbidden: dict[str, float] = {}
        """The namespaces whose logs may not be read, and until when that is not tried again."""

    def ask(self, execution: UUID, namespace: str, pod: PodEnd, then: Callable[[str], None]) -> None:
        """Have the log of the container that speaks for a pod read, and ``then`` called with its end."""
        self._waiting.add(execution)
        until = asyncio.get_running_loop().time() + MOST_SECONDS
        self._wanted.put_nowait(_Wanted(execution, namespace, pod, until, then))

    def waits(self, execution: UUID) -> bool:
        """Return whether the log of an execution is still to be read."""
        return execution in self._waiting

    async def drained(self) -> None:
        """Wait until no log is to be read."""
        await self._wanted.join()

    def processes(self) -> list[Coroutine[None, None, None]]:
        """Return the coroutines that read, for ever; run them together."""
        return [self._run_reader() for _ in range(READERS)]

    async def _run_reader(self) -> None:
        while True:
            wanted = await self._wanted.get()
            said = await self._read(wanted)
            self._waiting.discard(wanted.execution)
            try:
                wanted.then(said)
            except Exception:  # a bug with one row must not end the operator; the sweep closes the row
                log.exception("row of a failed container not recorded", execution=str(wanted.execution))
            self._wanted.task_done()

    async def _read(self, wanted: _Wanted) -> str:
        """Return the end of a log; empty if it cannot be read in time."""
        namespace, now = wanted.namespace, asyncio.get_running_loop().time()
        if now >= wanted.until or now < self._forbidden.get(namespace, now):
            return ""
        try:
            async with asyncio.timeout_at(wanted.until):
                return await self._end_of(namespace, wanted.pod)
        except ForbiddenError as error:
            self._forbidden[namespace] = now + FORBIDDEN_SECONDS
            log.info("rows of failed containers have no logs", namespace=namespace, why=str(error), hint=HINT)
        except (CarillonError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            log.info("log of a failed container not read", namespace=namespace, pod=wanted.pod.pod_name, why=why)
        except Exception:  # a bug with one log must not end the operator
            log.exception("log of a failed container not read", namespace=namespace, pod=wanted.pod.pod_name)
        return ""

    async def _end_of(self, namespace: str, pod: PodEnd) -> str:
        for lines in TAILS:
            said = await self._cluster.container_log(
                namespace, pod.pod_name, pod.container, tail_lines=lines, limit_bytes=MOST_READ
            )
            if len(said) < MOST_READ:
                return log_end(said)
        return ""
