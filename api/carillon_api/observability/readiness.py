"""What the facade needs and whether it is there: asked for probes, and said in the log when it changes.

The route ``/readyz`` calls it. Whoever sees a pod that is not ready looks at its log first.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

from carillon_api.http.caches import Cache, Lifetime
from carillon_api.schemas import Check
from carillon_core.logs import get_logger

log = get_logger(__name__)


class Probes:
    """The latest answer to probes."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._cache: Cache[str, Sequence[Check]] = Cache(lambda _: Lifetime(0.0), time.monotonic, most=1)
        self._said: str | None = None

    async def checks(self, ask: Callable[[], Awaitable[Sequence[Check]]]) -> Sequence[Check]:
        """Return what there is and what is missing: asked for once for all who ask at the same time, and not kept."""

        async def told() -> Sequence[Check]:
            found = await ask()
            self._tell(lacking(found))
            return found

        return await self._cache.get("checks", told)

    def _tell(self, missing: str) -> None:
        """Say it when it is another than before: probes come every few seconds."""
        if missing == self._said:
            return
        self._said = missing
        if missing:
            log.warning("not ready", why=missing)
        else:
            log.info("ready")


def lacking(checks: Sequence[Check]) -> str:
    """Return what is missing, in one sentence for each; empty if nothing is."""
    return "; ".join(f"{check.name}: {check.why}" for check in checks if not check.ok)
