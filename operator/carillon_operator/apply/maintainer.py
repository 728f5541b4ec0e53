"""Maintains the history every hour; ``Term`` runs it. Failures are logged and tried again."""

import asyncio
from collections.abc import Callable, Coroutine

from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger

log = get_logger(__name__)

INTERVAL_SECONDS = 3600.0
RETRY_SECONDS = 300.0
"""The wait after a failure: maintenance that found a table locked need not wait an hour."""

Maintain = Callable[[], Coroutine[None, None, object]]
"""Does the maintenance that is due; its result is ignored."""


class Maintainer:
    """Runs the maintenance again and again, whether it succeeds or fails."""

    def __init__(
        self, maintain: Maintain, interval_seconds: float = INTERVAL_SECONDS, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        """Take the maintenance to run; nothing runs yet."""
        self._maintain = maintain
        self._interval_seconds = interval_seconds
        self._retry_seconds = retry_seconds

    async def run(self) -> None:
        """Maintain now and every hour, for ever."""
        while True:
            wait = self._retry_seconds
            try:
                await self._maintain()
                wait = self._interval_seconds
            except UnavailableError as error:
                log.info("maintenance postponed", why=str(error))
            except Exception:  # a bug in the maintenance must not end the operator
                log.exception("maintenance failed")
            await asyncio.sleep(wait)
