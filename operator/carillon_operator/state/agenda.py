"""Which requests of a key need a turn: those that changed, those that are due, and those that wait for another.

A task may have thousands of requests. Most have ended and wait to be deleted;
a turn of the task does not look at them.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from carillon_operator.state.work_queue import Key

ValueT = TypeVar("ValueT")
Name = tuple[str, str]
"""A request's namespace and name."""


class Agenda:
    """The requests by the key under which they are reconciled."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed: dict[Key, dict[Name, None]] = {}
        self._restless: dict[Key, dict[Name, None]] = {}
        self._times: dict[Key, list[tuple[datetime, Name]]] = {}
        self._due: dict[Name, datetime] = {}
        """The current time of each request in ``_times``; other entries there are replaced ones."""
        self._ended: dict[Key, dict[Name, datetime]] = {}

    def changed(self, key: Key, name: Name) -> None:
        """Have a request looked at in the next turn of its key."""
        self._changed.setdefault(key, {})[name] = None

    def take(self, key: Key, now: datetime, most: int) -> tuple[list[Name], bool]:
        """Return the requests to look at now.

        Args:
            key: The key.
            now: This instant.
            most: The number of requests for one turn.

        Returns:
            The requests, and whether there are more for another turn.

        """
        for name in self._take_due(key, now):
            self.changed(key, name)
        waiting = self._changed.pop(key, {})
        names = list(waiting)[:most]
        for name in list(waiting)[most:]:
            self.changed(key, name)
        restless = (name for name in self._restless.get(key, ()) if name not in waiting)
        names += [name for name, _ in zip(restless, range(most - len(names)), strict=False)]
        return names, len(waiting) > most

    def put_back(self, key: Key, names: Iterable[Name]) -> None:
        """Have requests looked at again: their turn was cut short."""
        for name in names:
            self.changed(key, name)

    def seen(self, key: Key, name: Name, again: datetime | None, *, restless: bool, ended: datetime | None) -> None:
        """Remember what a look at a request has found.

        Args:
            key: Its key.
            name: The request.
            again: When to look again, if nothing changes before.
            restless: Whether it waits for something else to change, so that each turn of the key looks at it.
            ended: When it ended, if it has.

        """
        if again is None:
            self._due.pop(name, None)
        elif self._due.get(name) != again:
            self._due[name] = again
            heapq.heappush(self._times.setdefault(key, []), (again, name))
        if restless:
            _put(self._restless, key, name, None)
        else:
            _take_out(self._restless, key, name)
        if ended is not None:
            _put(self._ended, key, name, ended)

    def gone(self, key: Key, name: Name) -> None:
        """Forget a request that is deleted, or reconciled under another key from now on."""
        self._due.pop(name, None)
        _take_out(self._changed, key, name)
        _take_out(self._restless, key, name)
        _take_out(self._ended, key, name)

    def next_time(self, key: Key) -> datetime | None:
        """Return when a request of a key is due next, if nothing changes."""
        times = self._times.get(key, [])
        while times and self._due.get(times[0][1]) != times[0][0]:
            heapq.heappop(times)
        if not times:
            self._times.pop(key, None)
            return None
        return times[0][0]

    def beyond(self, key: Key, limit: int, most: int) -> list[Name]:
        """Return requests that have ended, oldest first, of which a key has more than a limit; at most so many."""
        ended = self._ended.get(key, {})
        count = min(len(ended) - limit, most)
        return heapq.nsmallest(count, ended, key=lambda name: (ended[name], name)) if count > 0 else []

    def handed_over(self, key: Key, name: Name) -> None:
        """Learn that a request is about to be deleted."""
        _take_out(self._ended, key, name)

    def clear(self) -> None:
        """Forget everything."""
        self._changed.clear()
        self._restless.clear()
        self._times.clear()
        self._due.clear()
        self._ended.clear()

    def _take_due(self, key: Key, now: datetime) -> Iterable[Name]:
        while (time := self.next_time(key)) is not None and time <= now:
            _, name = heapq.heappop(self._times[key])
            del self._due[name]
            yield name


def _put(part: dict[Key, dict[Name, ValueT]], key: Key, name: Name, value: ValueT) -> None:
    part.setdefault(key, {})[name] = value


def _take_out(part: dict[Key, dict[Name, ValueT]], key: Key, name: Name) -> None:
    """Take a request out, and leave no empty part."""
    if key in part:
        part[key].pop(name, None)
        if not part[key]:
            del part[key]
