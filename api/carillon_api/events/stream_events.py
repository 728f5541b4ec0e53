"""The events of the stream, as viewers get them, and the journal of the latest ones. Pure, except for the epoch."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.streams.events import (
    EndData,
    ExecutionData,
    ReadyData,
    ResetData,
    SourceData,
    TaskData,
)
from carillon_core.ports import ExecutionChange, TaskChange

KEPT = 5_000
"""How many events a process keeps for viewers that are behind or connect again; about 2 MB."""
CHUNK_BYTES = 64 * 1024
"""About how many bytes a viewer is sent at once."""
MOST_JOINED = 64
"""How many joined chunks are kept for other viewers; with ``CHUNK_BYTES``, about 4 MB."""
EndReason = Literal["Shutdown", "Unauthenticated", "Forbidden", "Unavailable", "InternalError"]


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event without its ID."""

    type: str
    data: Answer
    key: tuple[str, ...] = ()
    """What it is about. A later event replaces an earlier one of the same key that was not sent yet."""
    namespace: str | None = None
    """Only for viewers of this namespace; None means for all."""
    task: str | None = None
    """Only for viewers of tasks of this name; None means for all."""

    def text(self, cursor: str | None = None) -> bytes:
        """Return it in the format of server-sent events, with an ID if there is one."""
        known = "" if cursor is None else f"id: {cursor}\n"
        # JSON has no line breaks of its own
        return f"event: {self.type}\n{known}data: {self.data.model_dump_json(by_alias=True)}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a viewer gets."""

    namespaces: frozenset[str] | None = None
    """The namespaces that the caller may list and asked for; None means all."""
    task: str | None = None

    def has(self, event: StreamEvent) -> bool:
        """Return whether an event belongs to it."""
        return (self.namespaces is None or event.namespace is None or event.namespace in self.namespaces) and (
            self.task is None or event.task in {None, self.task}
        )


@dataclass(slots=True)
class Journal:
    """The latest events, in order, rendered once for all viewers.

    A cursor is the ID of an event: the journal's epoch and the event's number. Those of another journal, which is of
    another process or of another time, are not known here.
    """

    most: int = KEPT
    epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    first: int = 1
    """The number of the oldest event that is kept."""
    following: int = 1
    """The number of the next event."""
    _kept: dict[int, tuple[StreamEvent, bytes]] = field(default_factory=dict)
    _read: dict[tuple[int, Selection], tuple[bytes, int]] = field(default_factory=dict)
    """What viewers with the same selection have read at the same place: a page that many look at is joined once. Places
    and selections are the clients' own, so that only the latest are kept."""

    def add(self, event: StreamEvent) -> None:
        """Append an event; the oldest ones are dropped."""
        self._kept[self.following] = event, event.text(self.cursor(self.following))
        self.following += 1
        if len(self._kept) > self.most:
            del self._kept[self.first]
            self.first += 1
        self._read.clear()

    def cursor(self, number: int) -> str:
        """Return the ID of an event."""
        return f"{self.epoch}-{number}"

    def place(self, cursor: str) -> int | None:
        """Return the number of the event after a cursor; None if the events after it are not all known."""
        epoch, _, number = cursor.partition("-")
        if epoch != self.epoch or not number.isascii() or not number.isdecimal():
            return None
        after = int(number) + 1
        return after if self.first <= after <= self.following else None

    def read(self, place: int, selection: Selection) -> tuple[bytes, int] | None:
        """Return the events of a selection from a place on, and the place after them; None if some were dropped."""
        if place < self.first:
            return None
        asked = place, selection
        if asked not in self._read:
            found, size = [], 0
            while place < self.following and size < CHUNK_BYTES:
                event, text = self._kept[place]
                place += 1
                if selection.has(event):
                    found.append(text)
                    size += len(text)
            if len(self._read) >= MOST_JOINED:
                del self._read[next(iter(self._read))]
            self._read[asked] = b"".join(found), place
        return self._read[asked]


def of_execution(change: ExecutionChange) -> StreamEvent:
    """Return the event of a changed execution."""
    data = ExecutionData(
        id=change.id,
        namespace=change.namespace,
        task=change.task,
        slot=change.slot,
        cause=change.cause,
        status=change.status,
        reason=change.reason,
        started_at=change.started_at,
        finished_at=change.finished_at,
    )
    return StreamEvent("execution", data, ("execution", str(change.id)), change.namespace, change.task)


def of_task(change: TaskChange) -> StreamEvent:
    """Return the event of a changed task."""
    data = TaskData(
        namespace=change.namespace,
        name=change.name,
        uid=change.uid,
        generation=change.generation,
        resource_version=change.resource_version,
        deleted=change.deleted,
    )
    return StreamEvent("task", data, ("task", change.namespace, change.name), change.namespace, change.name)


def ready(*, resumed: bool) -> StreamEvent:
    """Return the first event of a stream."""
    return StreamEvent("ready", ReadyData(resumed=resumed))


def reset(reason: str, message: str, namespace: str | None = None) -> StreamEvent:
    """Return the event that changes may be missing."""
    return StreamEvent(
        "reset", ResetData(reason=reason, message=f"{message}: read the lists again"), namespace=namespace
    )


def degraded(source: str, namespace: str | None, message: str) -> StreamEvent:
    """Return the event that changes of a source are late."""
    data = SourceData(source=source, namespace=namespace, message=message)
    return StreamEvent("degraded", data, namespace=namespace)


def recovered(source: str, namespace: str | None) -> StreamEvent:
    """Return the event that they are no longer late."""
    return StreamEvent("recovered", SourceData(source=source, namespace=namespace, message=None), namespace=namespace)


def end(reason: EndReason, message: str) -> StreamEvent:
    """Return the last event of a stream."""
    return StreamEvent("end", EndData(reason=reason, message=message))
