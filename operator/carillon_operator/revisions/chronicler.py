"""Records each new generation of a task's spec in the history; ``Term`` runs it, and ``TaskTurn`` tells it of tasks.

Nothing waits for it. A turn only notes that a task has a generation. The
process asks the history for those that it lacks, a batch at a time, and builds
only these; so a restart costs a few statements, however many tasks there are.
With the history unavailable, it goes on when that is back, from the specs as
they are then.

An author may change a spec a thousand times a minute. At most one of these
changes is recorded in ``SPACING_SECONDS``, always the latest one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from pydantic_core import to_json

from carillon_core.backoff import Backoff, Tries
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.why.revision import TaskRevision, revision_of
from carillon_core.errors import TooMuchWorkError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import RevisionId, RevisionRecorder
from carillon_operator.guard.slices import Slices
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)

BATCH = 100
MOST_BYTES = 32 * 1024
"""The size of the specs that are written together; to prepare more at once would hold up the loop."""
PAUSE_SECONDS = 0.5
"""The pause between two batches: launches and records come first."""
SPACING_SECONDS = 5.0
"""The minimum time between two recorded revisions of one task."""
RENEWAL_SECONDS = 6 * 3600.0
"""How often it is noted that the tasks still have their specs; less than the shortest retention, which is a day."""
MOST_GONE = 10_000
"""How many deleted tasks are remembered until their ends are noted."""
RETRIES = Backoff(first=1.0, longest=60.0)


class Chronicler:
    """Knows which generations are recorded, and records the others."""

    def __init__(
        self,
        history: RevisionRecorder | None,
        view: View,
        clock: Callable[[], datetime],
        spacing_seconds: float = SPACING_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """Begin without knowing anything.

        Args:
            history: Where revisions are recorded; without it, nothing is.
            view: Has the tasks.
            clock: The time of day.
            spacing_seconds: The minimum time between two recorded revisions of a task.
            pause_seconds: The time between two batches.

        """
        self._history = history
        self._view = view
        self._clock = clock
        self._spacing = spacing_seconds
        self._pause = pause_seconds
        self._slices = Slices()
        self._recorded: dict[Key, RevisionId] = {}
        """The revision of each task that is in the history."""
        self._waiting: dict[Key, None] = {}
        """The tasks whose revision may not be, in the order in which they were seen."""
        self._not_before: dict[Key, float] = {}
        """The tasks that have a new revision, and the loop's time before which they get no other."""
        self._gone: deque[RevisionId] = deque(maxlen=MOST_GONE)
        self._added = asyncio.Event()

    def saw(self, task: ObservedTask) -> None:
        """Note a task as it is; return at once."""
        key = (task.meta.namespace, task.meta.name)
        recorded = self._recorded.get(key)
        if self._history is None or recorded == _id(task):
            return
        if recorded is not None and recorded[0] != task.meta.uid:
            self.lost(key)
        if key not in self._waiting:
            self._waiting[key] = None
            self._added.set()

    def lost(self, key: Key) -> None:
        """Note that a task is gone."""
        self._waiting.pop(key, None)
        self._not_before.pop(key, None)
        recorded = self._recorded.pop(key, None)
        if recorded is not None:
            self._gone.append(recorded)
            self._added.set()

    async def run(self) -> None:
        """Record revisions, for ever."""
        renewing = asyncio.ensure_future(self._renew())
        try:
            await self._run(Tries(RETRIES))
        finally:
            renewing.cancel()

    async def _run(self, tries: Tries) -> None:
        while True:
            await self._added.wait()
            try:
                wait = await self.write()
            except UnavailableError as error:
                if not tries.failures:
                    log.info("revisions not recorded, trying again", why=str(error))
                await asyncio.sleep(tries.failed())
                continue
            except Exception:  # the history of specs must not end the operator
                log.exception("recording revisions failed")
                await asyncio.sleep(tries.failed())
                continue
            tries.succeeded()
            if not self._waiting and not self._gone:
                self._added.clear()
            await asyncio.sleep(wait)

    async def write(self) -> float:
        """Record the first tasks that are due, and return how long to wait before the next ones.

        Raises:
            UnavailableError: The history is unavailable; everything still waits.

        """
        if self._history is None:
            return self._pause
        await self._note_ends()
        time = asyncio.get_running_loop().time()
        due = [key for key in self._waiting if self._not_before.get(key, time) <= time][:BATCH]
        if due:
            await self._record(due, time + self._spacing)
            return self._pause
        return min((self._not_before[key] for key in self._waiting), default=time) - time + self._pause

    async def _record(self, keys: Sequence[Key], not_before: float) -> None:
        history, now = self._history, self._clock()
        tasks = {key: task for key in keys if (task := self._view.ownership.task(key)) is not None}
        ids = {key: _id(task) for key, task in tasks.items()}
        known = set(await history.confirm(list(ids.values()), now)) if history is not None and ids else set()
        lacking = {key: task for key, task in tasks.items() if ids[key] not in known}
        made, size = list[TaskRevision](), 0
        for task in lacking.values():
            await self._slices.rest()
            revision = _revision(task, now)
            if revision is not None:
                made.append(revision[0])
                size += revision[1]
            if history is not None and size > MOST_BYTES:
                await _write(history, made)
                made, size = [], 0
        if history is not None and made:
            await _write(history, made)
        self._recorded |= ids
        self._not_before |= dict.fromkeys(lacking, not_before)
        for key in keys:
            self._waiting.pop(key, None)
            self._look_again(key)

    def _look_again(self, key: Key) -> None:
        """Have a task recorded once more if it has changed meanwhile, and forget it if it is gone."""
        task = self._view.ownership.task(key)
        if task is None:
            self.lost(key)
        else:
            self.saw(task)

    async def _note_ends(self) -> None:
        """Note when deleted tasks were last seen."""
        gone = list(self._gone)[:BATCH]
        if gone and self._history is not None:
            await self._history.confirm(gone, self._clock())
            for each in gone:
                if each in self._gone:
                    self._gone.remove(each)

    async def _renew(self) -> None:
        """Have all revisions confirmed again, from time to time."""
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            self.renew()

    def renew(self) -> None:
        """Have all revisions confirmed once more: the history then knows that the tasks still exist."""
        time = asyncio.get_running_loop().time()
        self._not_before = {key: at for key, at in self._not_before.items() if at > time}
        self._waiting |= dict.fromkeys(self._recorded)
        self._added.set()


async def _write(history: RevisionRecorder, made: Sequence[TaskRevision]) -> None:
    """Record revisions; one that the history rejects does not keep the others from it."""
    try:
        await history.record(made)
    except UnavailableError:
        raise
    except Exception:
        log.exception("the history rejects revisions, recording them one by one")
        for each in made:
            try:
                await history.record([each])
            except UnavailableError:
                raise
            except Exception:
                log.exception("the history rejects a revision", task=f"{each.namespace}/{each.task}")


def _id(task: ObservedTask) -> RevisionId:
    return task.meta.uid, task.meta.generation


def _revision(task: ObservedTask, now: datetime) -> tuple[TaskRevision, int] | None:
    """Return the revision of a task, and the size of its spec; None, and a line in the log, if that fails.

    The task then counts as recorded: to try the same spec again would only fail again, and hold up other tasks.
    """
    try:
        return CPU_LIMIT.run(partial(_measured_revision, task, now))
    except TooMuchWorkError as error:
        log.warning("revision not recorded", task=f"{task.meta.namespace}/{task.meta.name}", why=str(error))
    except Exception:  # tenants write specs: one that we fail to read must not end the recording of the others
        log.exception("revision not recorded", task=f"{task.meta.namespace}/{task.meta.name}")
    return None


def _measured_revision(task: ObservedTask, now: datetime) -> tuple[TaskRevision, int]:
    revision = revision_of(task, now)
    return revision, len(to_json(revision.spec))
