"""Registers the key that signs execution tokens in the database: at the start, after an outage, and regularly.

Launches do not wait for it. A runner whose key is not registered yet waits, as
it does when the database is unavailable.
"""

import asyncio

from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import RunnerKeys

log = get_logger(__name__)

RETRY_SECONDS = 2.0


class KeyRegistrar:
    """Registers one key repeatedly."""

    def __init__(self, keys: RunnerKeys, key: TokenKey, every_seconds: float) -> None:
        """Take where to register the key, and how often."""
        self._keys = keys
        self._key = key
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Register the key, for ever; retry every two seconds while the database is unavailable, and log that once."""
        failures = 0
        while True:
            try:
                await self._keys.register(self._key)
            except Exception as error:  # noqa: BLE001  # no failure here may stop the operator
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
        # anything but an outage is a bug: log its traceback
        defect = None if isinstance(error, UnavailableError) else error
        log.warning("token signing key not registered, trying again", **fields, exc_info=defect)
