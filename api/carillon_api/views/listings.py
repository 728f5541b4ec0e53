"""A short-lived cache of task lists, for ``upcoming`` under a load of a hundred requests per second.

A list of three hundred tasks costs the API server and this process about ten
times more than the computation of the upcoming times. So each caller's list is
fetched at most once per second, with the caller's permissions, and shared by
its requests. A list is never older than ``USABLE``, and never older than the
caller's last change through this process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cachetools import Cache, LRUCache

from carillon_api.views.upcoming import Entry
from carillon_core.domain.access.subjects import Subject

FRESH = timedelta(seconds=1)
"""A list younger than this is used without a new fetch."""
USABLE = timedelta(seconds=2)
"""A list younger than this is used while a new one is fetched, so that no request waits under load."""
MAX_ENTRIES = 200_000
"""The maximum number of tasks in all listings together; the least recently used listings are dropped first."""

MAX_LISTINGS = 1_000
"""The maximum number of listings, including empty and failed ones: callers can send any number of selectors."""

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class ListingKey:
    """The caller and the filters of a list."""

    subject: Subject
    namespace: str | None
    label_selector: str


@dataclass(slots=True, eq=False)
class _Listing:
    """The last list, and the fetch of the next one if it is running."""

    entries: Sequence[Entry] = ()
    at: datetime | None = None
    """When its fetch started; None if there is no usable list."""
    fetching: "asyncio.Task[Sequence[Entry]] | None" = None


class Listings:
    """The lists of all callers, limited in size. For one event loop."""

    def __init__(self, most: int = MAX_ENTRIES, most_listings: int = MAX_LISTINGS) -> None:
        """Create an empty cache.

        Args:
            most: The maximum number of tasks.
            most_listings: The maximum number of listings.

        """
        self._most = most
        self._known: LRUCache[ListingKey, _Listing] = LRUCache(most_listings)

    def __len__(self) -> int:
        """Return the number of cached listings."""
        return len(self._known)

    async def of(
        self, key: ListingKey, now: datetime, fetch: Callable[[], Awaitable[Sequence[Entry]]]
    ) -> Sequence[Entry]:
        """Return a list that is at most ``USABLE`` old; errors of ``fetch`` are raised in all calls that wait for it.

        Args:
            key: The caller and the filters.
            now: The current time.
            fetch: Calls the API server as the key's subject.

        """
        listing = self._known.setdefault(key, _Listing())
        # if the clock is set back, the age is negative and the list is not used
        age = None if listing.at is None or now < listing.at else now - listing.at
        if age is not None and age < FRESH:
            return listing.entries
        if listing.fetching is None:
            listing.fetching = asyncio.create_task(self._fetched(listing, now, fetch))
            listing.fetching.add_done_callback(_seen)
        if age is not None and age < USABLE:
            return listing.entries
        # if one request is cancelled, the others still get the list
        return await asyncio.shield(listing.fetching)

    def forget(self, subject: Subject) -> None:
        """Drop a caller's lists after a change, so that the caller sees the change."""
        for key in [key for key in self._known if key.subject == subject]:
            # a running fetch still answers the requests that wait for it, but no later ones
            del self._known[key]

    async def _fetched(
        self, listing: _Listing, now: datetime, fetch: Callable[[], Awaitable[Sequence[Entry]]]
    ) -> Sequence[Entry]:
        try:
            listing.entries = await fetch()
            listing.at = now
        except BaseException:
            listing.entries, listing.at = (), None  # the caller may have lost the permission
            raise
        finally:
            listing.fetching = None
        self._bound()
        return listing.entries

    def _bound(self) -> None:
        # not by values(), which would mark every listing as recently used
        total = sum(len(Cache.__getitem__(self._known, key).entries) for key in self._known)
        while total > self._most and len(self._known) > 1:
            _, oldest = self._known.popitem()
            total -= len(oldest.entries)


def _seen(task: "asyncio.Task[Sequence[Entry]]") -> None:
    """Retrieve the error of a background fetch, so that asyncio does not warn; the next request fetches again."""
    if not task.cancelled():
        task.exception()
