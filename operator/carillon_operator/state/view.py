"""The operator's state as one value: the observed objects, their ownership, and the work queue."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from carillon_core.ports import ObjectKind
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.work_queue import Key, WorkQueue


@dataclass(frozen=True, slots=True)
class View:
    """The state that ``gather`` writes and the turns read."""

    store: ObservedStore
    ownership: Ownership
    queue: WorkQueue

    def put(self, kind: ObjectKind, raw: Mapping[str, Any]) -> None:
        """Take an object from the API server, and enqueue its keys."""
        self.enqueue(self.store.shelf(kind).put(raw))

    def drop(self, kind: ObjectKind, name: Key, uid: str) -> None:
        """Forget a deleted object, and enqueue its keys."""
        self.enqueue(self.store.shelf(kind).drop(name, uid))

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Enqueue keys."""
        for key in keys:
            self.queue.add(key)
