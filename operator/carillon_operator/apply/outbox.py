"""The writes to the history: kept while the database is unavailable, written when it is back.

Each entry is idempotent, so writing it twice is harmless. Until it is written,
its content is also durable elsewhere, in a status or as a Job: an operator that
is killed finds it there again.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from cachetools import LRUCache

from carillon_core.backoff import Backoff, Tries
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import HistoryRecorder

log = get_logger(__name__)

BATCH = 500
MOST_IN_A_ROW = 2
"""After as many entries that cannot be written, one after the other, the history itself is unavailable."""
REMEMBERED = 20_000
"""How many written ids are remembered; an entry whose id was forgotten is only written again."""
RETRIES = Backoff(first=0.5, longest=15.0)

Entry = ExecutionRecord | Closing


class Outbox:
    """An ordered list of writes to the history and the one process that makes them."""

    def __init__(self, history: HistoryRecorder, on_written: Callable[[Entry], None]) -> None:
        """Take the history to write to, and a function to call with each written entry."""
        self._history = history
        self._on_written = on_written
        self._entries: deque[Entry] = deque()
        self._waiting: Counter[UUID] = Counter()
        self._written: LRUCache[UUID, None] = LRUCache(REMEMBERED)
        self._added = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, entries: Sequence[Entry]) -> None:
        """Add entries to be written in this order."""
        if entries:
            self._entries.extend(entries)
            self._waiting.update(entry.id for entry in entries)
            self._empty.clear()
            self._added.set()

    def waits(self, uid: UUID) -> bool:
        """Return whether an entry of an execution waits to be written."""
        return uid in self._waiting

    def wrote(self, uid: UUID) -> bool:
        """Return whether at least one entry of an execution was put, and all of them are written."""
        return uid in self._written and uid not in self._waiting

    @property
    def written(self) -> Collection[UUID]:
        """The executions of which an entry was written."""
        return self._written.keys()

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._entries)

    async def drained(self) -> None:
        """Wait until nothing waits to be written."""
        await self._empty.wait()

    async def run(self) -> None:
        """Write the entries, for ever."""
        tries, apart = Tries(RETRIES), False
        while True:
            await self._added.wait()
            try:
                await (self._write_apart() if apart else self._write_batch())
            except UnavailableError as error:
                if not tries.failures:
                    log.warning("history unavailable, records are kept until it is back", why=str(error))
                apart = tries.failures > 0  # it may be unavailable for one entry only
                await asyncio.sleep(tries.failed())
                continue
            except Exception:
                # An entry that the history never accepts must not block the others.
                log.exception("the history rejects a batch, writing its entries one by one")
                apart = True
                continue
            apart = False
            if tries.succeeded():
                log.info("history is back", records_left=len(self._entries))
            if not self._entries:
                self._added.clear()
                self._empty.set()

    async def _write_apart(self) -> None:
        """Write the first batch entry by entry: drop what is rejected, put off what cannot be written now.

        Raises:
            UnavailableError: Two entries in a row, or all of them, cannot be written: it is not their fault.

        """
        batch = self._batch(BATCH)
        in_a_row, done = 0, 0
        for number in range(len(batch)):
            try:
                await self._write_batch(1)
            except UnavailableError:
                in_a_row += 1
                self._put_off()
                if in_a_row == MOST_IN_A_ROW or (not done and number == len(batch) - 1):
                    raise
                continue
            except Exception:
                log.exception("the history rejects an entry, dropping it", id=str(self._entries[0].id))
                self._done(self._entries.popleft())
            in_a_row, done = 0, done + 1

    def _put_off(self) -> None:
        """Move the entries of the first execution behind all others, in their order."""
        first = self._entries[0].id
        own = [entry for entry in self._entries if entry.id == first]
        self._entries = deque([*(entry for entry in self._entries if entry.id != first), *own])

    def _batch(self, most: int) -> list[Entry]:
        """Return the first entries, as long as they are of one kind."""
        batch: list[Entry] = []
        for entry in self._entries:
            if type(entry) is not type(self._entries[0]) or len(batch) == most:
                break
            batch.append(entry)
        return batch

    async def _write_batch(self, most: int = BATCH) -> None:
        """Write the first entries, then remove them."""
        batch = self._batch(most)
        records = [e for e in batch if isinstance(e, ExecutionRecord)]
        closings = [e for e in batch if isinstance(e, Closing)]
        if records:
            await self._history.record(records)
        if closings:
            closed = await self._history.close(closings)
            for entry in (each for each in closings if each.id in closed):
                fields = {"execution": str(entry.id), "status": str(entry.status), "reason": entry.reason}
                if entry.expected:
                    log.info("recorded the end of an execution", **fields)
                else:
                    log.warning("closed an execution that its runner left open", **fields)
        for _ in batch:
            self._done(self._entries.popleft())

    def _done(self, entry: Entry) -> None:
        self._waiting[entry.id] -= 1
        if not self._waiting[entry.id]:
            del self._waiting[entry.id]
        self._written[entry.id] = None
        self._on_written(entry)
