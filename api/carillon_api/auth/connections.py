"""How many connections an address may hold. ``server`` counts by it; one for each process."""

from collections import Counter
from collections.abc import Sequence

from carillon_api.auth.peers import UNKNOWN, is_in, site
from carillon_api.settings import Network


class Connections:
    """Counts the connections of each address; an IPv6 network of 64 bits counts as one."""

    def __init__(self, most: int, exempt: Sequence[Network] = ()) -> None:
        """Start without connections.

        Args:
            most: The maximum number of connections of an address.
            exempt: The networks whose addresses are not limited: proxies, each of which speaks for many.

        """
        self._most = most
        self._exempt = exempt
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of addresses with connections."""
        return len(self._held)

    def take(self, address: str | None) -> str | None:
        """Count a connection and return the place it counts for, to be given to ``release``; None if it is refused."""
        address = address or UNKNOWN
        place = site(address)
        if self._held[place] >= self._most and not is_in(address, self._exempt):
            return None
        self._held[place] += 1
        return place

    def release(self, place: str) -> None:
        """Count a connection no longer."""
        self._held[place] -= 1
        if not self._held[place]:
            del self._held[place]
