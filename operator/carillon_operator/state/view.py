"""What the operator knows and has to do, as one value: what it observes, what it owns, and its work queue."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from carillon_core.ports import ObjectKind
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.work_queue import Key, WorkQueue


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the gathering rooms write and the deciding ones read."""

    store: ObservedStore
    ownership: Ownership
    queue: WorkQueue

    def put(self, kind: ObjectKind, raw: Mapping[str, Any]) -> None:
        """Take an object from the API server, and have its keys reconciled."""
        self.enqueue(self.store.shelf(kind).put(raw))

    def drop(self, kind: ObjectKind, name: Key, uid: str) -> None:
        """Forget a deleted object, and have its keys reconciled."""
        self.enqueue(self.store.shelf(kind).drop(name, uid))

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Have keys reconciled."""
        for key in keys:
            self.queue.add(key)
