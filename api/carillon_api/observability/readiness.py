"""Readiness: whether the database and the API server are available; changes are logged.

The route ``/readyz`` calls it. The log explains why a pod is not ready.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

from carillon_api.http.caches import Cache, Lifetime
from carillon_api.schemas import Check
from carillon_core.logs import get_logger

log = get_logger(__name__)


class Probes:
    """The latest result of the readiness checks."""

    def __init__(self) -> None:
        """Start without a result."""
        self._cache: Cache[str, Sequence[Check]] = Cache(lambda _: Lifetime(0.0), time.monotonic, most=1)
        self._logged: str | None = None

    async def checks(self, ask: Callable[[], Awaitable[Sequence[Check]]]) -> Sequence[Check]:
        """Return the results of the checks; concurrent probes share one run, and results are not cached."""

        async def checked() -> Sequence[Check]:
            found = await ask()
            self._log_changes(failures_of(found))
            return found

        return await self._cache.get("checks", checked)

    def _log_changes(self, missing: str) -> None:
        """Log the result if it has changed: probes come every few seconds."""
        if missing == self._logged:
            return
        self._logged = missing
        if missing:
            log.warning("not ready", why=missing)
        else:
            log.info("ready")


def failures_of(checks: Sequence[Check]) -> str:
    """Return one sentence for each failed check; empty if all succeeded."""
    return "; ".join(f"{check.name}: {check.why}" for check in checks if not check.ok)
