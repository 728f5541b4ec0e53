"""The history of specs in memory, for tests; it meets the same contract as the one in Postgres."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.revision_rows import check_limit, cursor_of, order_of, place_of, storable_revision
from carillon_core.contract import Cause
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.why.revision import MOST_REVISIONS, TaskRevision
from carillon_core.errors import UnavailableError
from carillon_core.ports import MOST_NEAR, RevisionId, RevisionPage, RevisionQuery


class MemoryRevisions:
    """``RevisionRecorder`` and ``TaskPast`` over a dictionary and a history in memory.

    Attributes:
        kept: The revisions by task and generation, as stored.
        writes: How many revisions each call of ``record`` brought.
        outage: While it is set, every call raises ``UnavailableError`` with it.

    """

    def __init__(self, history: MemoryHistory | None = None) -> None:
        """Begin with no revisions.

        Args:
            history: Has the rows.

        """
        self._history = history or MemoryHistory()
        self.kept: dict[RevisionId, TaskRevision] = {}
        self.writes: list[int] = []
        self.outage: str | None = None

    async def confirm(self, revisions: Collection[RevisionId], now: datetime) -> Collection[RevisionId]:
        """Note that tasks have these generations now; return those that are recorded."""
        self._check_outage()
        found = [each for each in revisions if each in self.kept]
        for each in found:
            known = self.kept[each]
            self.kept[each] = replace(known, last_seen_at=max(known.last_seen_at, now))
        return found

    async def record(self, revisions: Sequence[TaskRevision]) -> None:
        """Insert revisions; existing ones stay unchanged. Of one name's, the newest are kept."""
        self._check_outage()
        ready = [storable_revision(each) for each in revisions]
        self.writes.append(len(ready))
        for each in ready:
            self.kept.setdefault((each.task_uid, each.generation), each)
        for namespace, task in {(each.namespace, each.task) for each in ready}:
            for old in self._of(namespace, task)[MOST_REVISIONS:]:
                del self.kept[old.task_uid, old.generation]

    async def revisions(self, query: RevisionQuery) -> RevisionPage:
        """Return a page of revisions, newest first."""
        self._check_outage()
        check_limit(query)
        found = self._of(query.namespace, query.task)
        if query.cursor is not None:
            place = place_of(query.cursor)
            found = [each for each in found if order_of(each) < place]
        page = found[: query.limit]
        return RevisionPage(page, cursor_of(page[-1]) if len(found) > query.limit else None)

    async def rules(self, namespace: str, task: str) -> Sequence[TaskRevision]:
        """Return all revisions of the tasks with a name, newest first, without their specs."""
        self._check_outage()
        return [replace(each, spec=None) for each in self._of(namespace, task)]

    async def row_of(self, namespace: str, task: str, slot: datetime) -> ExecutionRecord | None:
        """Return the row of a slot, or the one that covers it."""
        await self._history.ping()
        self._check_outage()
        own = (row for row in self._history.rows.values() if (row.namespace, row.task) == (namespace, task))
        near = sorted((row for row in own if row.slot >= slot), key=lambda row: (row.slot, row.id))[:MOST_NEAR]
        for row in near:
            if row.cause is Cause.SCHEDULE and (row.first_slot or row.slot) <= slot:
                return replace(row, result=None, attempts=())
        return None

    def _of(self, namespace: str, task: str) -> list[TaskRevision]:
        own = (each for each in self.kept.values() if (each.namespace, each.task) == (namespace, task))
        return sorted(own, key=order_of, reverse=True)

    def _check_outage(self) -> None:
        if self.outage is not None:
            raise UnavailableError("database", self.outage)
