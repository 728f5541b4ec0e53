"""Leader election: of several operators, the one that holds the Lease decides and writes. ``Application`` uses it.

The rules are those of Kubernetes' own controllers (client-go,
``leaderelection``). No process compares its clock with another's. A standby
measures how long the Lease's record has stayed the same, by a monotonic clock
that also runs while the machine sleeps. A leader counts from the moment it sent
its last successful renewal, and only two thirds of the time that the others
wait: it has stopped before another one starts.

A Lease does not fence. A request that is in flight when its sender loses the
Lease may still be carried out. That no slot runs twice depends on the names of
Jobs, the unique keys of the history and the versions of statuses. The Lease
keeps two operators from working against each other, and lets a Forbid task see
every active execution.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime

from carillon_core.errors import AlreadyExistsError, CarillonError, ConflictError, NotFoundError
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject, Leases
from carillon_operator.leadership.endings import end, pause
from carillon_operator.lease_settings import LeaseSettings

log = get_logger(__name__)

LONGEST_POLL_SECONDS = 1.0
"""A standby checks the Lease at least this often, so a released Lease is taken within this time."""

Lead = Callable[[asyncio.Event], Coroutine[None, None, bool]]
"""Decides and writes until the event is set, then returns whether no write is still in flight. Ends immediately when
it is cancelled."""


def elapsed_seconds() -> float:
    """Return the seconds of a monotonic clock that includes the machine's sleep where the system supports that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Elector:
    """One candidate for the Lease, as long as the process runs."""

    def __init__(
        self,
        leases: Leases,
        settings: LeaseSettings,
        now: Callable[[], datetime],
        elapsed: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """Take the Lease to hold; nothing is requested yet.

        Args:
            leases: Where the Lease is. Its requests must not wait behind others: a late renewal loses the Lease.
            settings: The Lease, the identity and the duration.
            now: The time of day; it is written for people, and never compared.
            elapsed: A monotonic clock, in seconds.

        """
        self._leases = leases
        self._settings = settings
        self._now = now
        self._elapsed = elapsed
        self._acquired: str | None = None
        """When this process acquired the Lease, as written: an earlier process may have had the same identity."""
        self._until: float | None = None
        self._sent = 0.0
        """When the last successful attempt was sent; renewal and expiry are counted from it."""
        self._seen: JSONObject | None = None
        self._seen_at = 0.0
        self._said: str | None = None
        self._was_cut_off = False

    @property
    def fields(self) -> dict[str, str]:
        """The log fields that describe the Lease."""
        return {"lease": f"{self._settings.namespace}/{self._settings.name}", "identity": self._settings.identity}

    def leads(self) -> bool:
        """Return whether this process may decide and write now."""
        return self._until is not None and self._elapsed() < self._until

    def renewal_in(self) -> float:
        """Return in how many seconds to renew the Lease: a third of its duration after the last renewal was sent.

        The time of its response does not count: after a slow one, no time would be left for the next renewal.
        """
        return max(0.0, self._sent + self._settings.seconds / 3 - self._elapsed())

    async def run(self, lead: Lead, stop: asyncio.Event) -> None:
        """Stand by, lead, and stand by again, until ``stop`` is set; then release the Lease.

        It is not released if a write may still be in flight: that arrives before the Lease expires by itself.

        Args:
            lead: Called each time that the Lease is acquired, and cancelled when it is lost.
            stop: Set when the operator is told to stop.

        Raises:
            Exception: The error that ``lead`` failed with.

        """
        while await self._acquire(stop):
            leading = asyncio.ensure_future(lead(stop))
            renewing = asyncio.ensure_future(self._renew())
            try:
                await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
                ended = leading.done()
            finally:
                await end([leading])
                await end([renewing])
            if ended and leading.result():
                await self._release()
            self._until = None

    async def attempt(self) -> bool:
        """Acquire or renew the Lease if possible; return whether it is held.

        Raises:
            ConflictError: Another candidate was faster.
            CarillonError: The Lease cannot be read or written; the leader leads until its time expires.

        """
        sent = self._elapsed()
        where = (self._settings.namespace, self._settings.name)
        try:
            found = await self._leases.get(*where)
        except NotFoundError:
            if self._seen is not None and not self._is_mine(self._seen) and not self._is_free(self._seen):
                self._until = None
                return False  # it was deleted, and its holder does not know that yet
            try:
                stored = await self._leases.create(*where, self._spec({}))
            except AlreadyExistsError as error:
                raise ConflictError(str(error)) from error
        else:
            self._observe(found)
            spec = found.get("spec") or {}
            if not self._is_mine(spec) and not self._is_free(spec):
                self._until = None
                return False
            stored = await self._leases.update(found | {"spec": self._spec(spec)})
        self._observe(stored)
        self._sent, self._until = sent, sent + self._settings.seconds * 2 / 3
        return True

    async def release(self) -> None:
        """Release the Lease, so that the next leader need not wait for its expiry; do nothing if another holds it.

        Raises:
            CarillonError: It could not be released; it expires by itself.

        """
        self._until = None
        found = await self._leases.get(self._settings.namespace, self._settings.name)
        spec = found.get("spec") or {}
        if self._is_mine(spec):
            released = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
            await self._leases.update(found | {"spec": spec | released})
            log.info("released the Lease", **self.fields)

    async def _acquire(self, stop: asyncio.Event) -> bool:
        """Stand by until the Lease is held; return False if ``stop`` is set first."""
        self._said = None
        while not stop.is_set():
            if await self._try():
                log.info("leading", **self.fields)
                return True
            wait = min(LONGEST_POLL_SECONDS, self._settings.seconds / 6)
            if self._was_cut_off:
                wait, self._was_cut_off = self._settings.seconds * 1.5, False
            await pause(stop, wait)
        return False

    async def _renew(self) -> None:
        """Renew the Lease until it is lost."""
        wait = self.renewal_in()
        while self.leads():
            await asyncio.sleep(min(wait, self._left()))
            renewed = self.leads() and await self._try()
            # a failed try is repeated soon, since little time is left
            wait = self.renewal_in() if renewed else self._settings.seconds / 24
        log.warning("lost the Lease, standing by", **self.fields)

    async def _try(self) -> bool:
        """Acquire or renew, in a time that leaves room for another try; log each cause of failure once."""
        leads = self.leads()
        # A leader must know the result before its own time expires. A standby waits as long as the result is useful: a
        # request that was cut off may still be carried out, and would then keep the Lease from every candidate.
        seconds = min(self._settings.seconds / 4, self._left()) if leads else self._settings.seconds * 2 / 3
        try:
            async with asyncio.timeout(seconds):
                held = await self.attempt()
        except TimeoutError:
            if not leads:
                # it may hold the Lease without knowing: wait for its expiry, and let the others go first
                self._acquired, self._was_cut_off = None, True
            return self._say("no response in time")
        except ConflictError:
            return False
        except CarillonError as error:
            return self._say(str(error))
        except Exception as error:  # such as a token file that is being written
            if str(error) != self._said:
                log.exception("cannot request the Lease", **self.fields)
            self._said = str(error)
            return False
        if held:
            self._said = None
        else:
            holder = str(((self._seen or {}).get("holderIdentity")) or "")
            if holder != self._said:
                log.info("standing by", **(self.fields | {"holder": holder}))
            self._said = holder
        return held

    def _say(self, why: str) -> bool:
        if why != self._said:
            log.warning("Lease unavailable, trying again", **(self.fields | {"why": why}))
        self._said = why
        return False

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(self._settings.seconds / 4):
                await self.release()
        except (CarillonError, TimeoutError) as error:
            fields = self.fields | {"why": str(error) or "no response in time"}
            log.warning("Lease not released, it expires by itself", **fields)

    def _left(self) -> float:
        return max(0.0, (self._until or 0.0) - self._elapsed())

    def _observe(self, lease: JSONObject) -> None:
        spec = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._elapsed()

    def _is_mine(self, spec: JSONObject) -> bool:
        """Return whether this process wrote it, even if the response was lost."""
        return self._acquired is not None and (spec.get("holderIdentity"), spec.get("acquireTime")) == (
            self._settings.identity,
            self._acquired,
        )

    def _is_free(self, spec: JSONObject) -> bool:
        """Return whether it has no holder, or its holder has not renewed it for its stated duration."""
        lasts = spec.get("leaseDurationSeconds") or self._settings.seconds
        return not spec.get("holderIdentity") or self._elapsed() - self._seen_at >= lasts

    def _spec(self, before: JSONObject) -> JSONObject:
        now, renewed = self._time(), self._is_mine(before)
        if not renewed:
            self._acquired = now
        changed = {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": self._settings.seconds,
            "acquireTime": self._acquired,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if renewed or not before else 1),
        }
        return before | changed

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
