"""What the tasks of all are, as of a moment ago: for ``upcoming``, which is asked a hundred times a second.

A list of three hundred tasks costs the API server and us some ten times more
than all that is then computed of it. So it is made once a second at most for
each caller, as that caller; whoever asks meanwhile gets the same. The answer
is never older than ``USABLE``, and never older than the caller's own last
change through this process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cachetools import Cache, LRUCache

from carillon_api.views.upcoming import Entry
from carillon_core.domain.access.subjects import Subject

FRESH = timedelta(seconds=1)
"""Younger ones are used as they are."""
USABLE = timedelta(seconds=2)
"""Younger ones are used once more, while a new one is fetched: under load, nobody waits for it."""
MAX_ENTRIES = 200_000
"""So many tasks are remembered over all listings; the listings used longest ago go first."""

MAX_LISTINGS = 1_000
"""So many listings are remembered, also those that have no tasks or failed: a selector is whatever a caller writes."""

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class ListingKey:
    """Whose list it is, and of what."""

    subject: Subject
    namespace: str | None
    label_selector: str


@dataclass(slots=True, eq=False)
class _Listing:
    """A list as it was, and the fetching of the next one if that is under way."""

    entries: Sequence[Entry] = ()
    at: datetime | None = None
    """When its fetching began; None if there is none to be used."""
    fetching: "asyncio.Task[Sequence[Entry]] | None" = None


class Listings:
    """The lists of all callers; bounded. For one event loop."""

    def __init__(self, most: int = MAX_ENTRIES, most_listings: int = MAX_LISTINGS) -> None:
        """Remember at most so many tasks, in at most so many listings."""
        self._most = most
        self._known: LRUCache[ListingKey, _Listing] = LRUCache(most_listings)

    def __len__(self) -> int:
        """Return how many listings are remembered."""
        return len(self._known)

    async def of(
        self, key: ListingKey, now: datetime, fetch: Callable[[], Awaitable[Sequence[Entry]]]
    ) -> Sequence[Entry]:
        """Return a list that is at most ``USABLE`` old; what ``fetch`` raises is raised to whoever waits for it.

        Args:
            key: Whose list, and of what.
            now: This instant.
            fetch: Asks the API server, as the key's subject.

        """
        listing = self._known.setdefault(key, _Listing())
        # a clock that is set back makes an age negative: such a list is not used
        age = None if listing.at is None or now < listing.at else now - listing.at
        if age is not None and age < FRESH:
            return listing.entries
        if listing.fetching is None:
            listing.fetching = asyncio.create_task(self._fetched(listing, now, fetch))
            listing.fetching.add_done_callback(_seen)
        if age is not None and age < USABLE:
            return listing.entries
        # one caller that goes away takes nothing from the others
        return await asyncio.shield(listing.fetching)

    def forget(self, subject: Subject) -> None:
        """Use none of a caller's lists any more: it has changed something, and shall see that."""
        for key in [key for key in self._known if key.subject == subject]:
            # what is being fetched goes to those who wait for it, and to nobody after them
            del self._known[key]

    async def _fetched(
        self, listing: _Listing, now: datetime, fetch: Callable[[], Awaitable[Sequence[Entry]]]
    ) -> Sequence[Entry]:
        try:
            listing.entries = await fetch()
            listing.at = now
        except BaseException:
            listing.entries, listing.at = (), None  # it may be that the caller may not list any more
            raise
        finally:
            listing.fetching = None
        self._bound()
        return listing.entries

    def _bound(self) -> None:
        # not by values(): to count a listing is not to use it, and must not change the order of use
        total = sum(len(Cache.__getitem__(self._known, key).entries) for key in self._known)
        while total > self._most and len(self._known) > 1:
            _, oldest = self._known.popitem()
            total -= len(oldest.entries)


def _seen(task: "asyncio.Task[Sequence[Entry]]") -> None:
    """Take note of a failure that nobody waits for: the next request fetches again, and is told."""
    if not task.cancelled():
        task.exception()
