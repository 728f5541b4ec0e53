"""Keeps the key of the runners' tokens known to the database: at the start, when it comes back, and from time to time.

The application runs it beside the sweeps. Launching does not wait for it: a
runner whose key is not known yet waits, as for a database that is away.
"""

import asyncio

from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import RunnerKeys

log = get_logger(__name__)

RETRY_SECONDS = 2.0


class KeyRegistrar:
    """Registers one key, again and again."""

    def __init__(self, keys: RunnerKeys, key: TokenKey, every_seconds: float) -> None:
        """Take where the key is to be known, and how often it is to count as used."""
        self._keys = keys
        self._key = key
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Register it for ever; a database that is away is tried every other second, and said once."""
        failures = 0
        while True:
            try:
                await self._keys.register(self._key)
            except Exception as error:  # noqa: BLE001  # whatever it is, the operator goes on, and so does this
                failures += 1
                if failures == 1:
                    self._tell(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if failures:
                    log.info("token signing key registered", key=self._key.id)
                failures = 0
                await asyncio.sleep(self._every_seconds)

    def _tell(self, error: Exception) -> None:
        fields = {"key": self._key.id, "why": str(error)}
        # what is not the database's absence is a defect: with its place
        defect = None if isinstance(error, UnavailableError) else error
        log.warning("token signing key not registered, trying again", **fields, exc_info=defect)
