"""Which of several operators decides and writes: the one that holds the Lease. ``Application`` asks to lead by it.

The rules are those of Kubernetes' own controllers (client-go, ``leaderelection``).
Nobody compares the clock of another: whoever waits measures, by a clock of its
own that is never set and goes on while the machine sleeps, how long the record
of the Lease has stayed the same. A leader counts from the moment in which it
sent its last successful renewal, and for a third of the Lease less than the
others: it has stopped before another begins.

A Lease does not fence. A request that is on its way when its sender loses may
still be carried out, and nothing here can call it back. That no slot runs
twice rests on the names of Jobs, the unique keys of the history and the
versions of statuses; the Lease is there so that two operators do not work
against each other, and so that a Forbid task sees all that is active.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime

from carillon_core.errors import AlreadyExistsError, CarillonError, ConflictError, NotFoundError
from carillon_core.logs import get_logger
from carillon_core.ports import JSONObject, Leases
from carillon_operator.leadership.endings import end, pause

log = get_logger(__name__)

LEASE_SECONDS = 6
LONGEST_POLL_SECONDS = 1.0
"""Whoever stands by looks at the Lease at least this often: one that is given back is taken within this time."""

Lead = Callable[[asyncio.Event], Coroutine[None, None, bool]]
"""Decides and writes until the event is set, then ends and returns whether nothing of it is still on its way; when it
is cancelled, it ends at once."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease, and by which name it is held."""

    namespace: str
    """``CARILLON_LEASE_NAMESPACE``: where the Lease is; unset, the operator decides without one."""
    name: str
    """``CARILLON_LEASE_NAME``: ``carillon-operator`` if unset; with several shards the shard's number is added."""
    identity: str
    """``CARILLON_POD_NAME``: the holder's; the host's name with a random part if unset."""
    seconds: int = LEASE_SECONDS
    """``CARILLON_LEASE_SECONDS``: a leader that is gone is replaced after this time. It renews after a third of it, and
    one that could not renew for two thirds stops."""


def elapsed_seconds() -> float:
    """Return the seconds since some moment, those included in which the machine slept, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Elector:
    """One candidate for the Lease, for the life of the process."""

    def __init__(
        self,
        leases: Leases,
        settings: LeaseSettings,
        now: Callable[[], datetime],
        elapsed: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """Say which Lease is to be held; nothing is asked for yet.

        Args:
            leases: Where the Lease is. Its calls must not wait behind others': a renewal that comes late is a loss.
            settings: Which Lease, by whom, for how long.
            now: The time of day; it is written for people to read, and never compared.
            elapsed: A clock of seconds that is never set.

        """
        self._leases = leases
        self._settings = settings
        self._now = now
        self._elapsed = elapsed
        self._acquired: str | None = None
        """When this process acquired the Lease, as it wrote it: a former process may have had the same identity."""
        self._until: float | None = None
        self._sent = 0.0
        """When the last successful attempt was sent, from which both renewal and end are counted."""
        self._seen: JSONObject | None = None
        self._seen_at = 0.0
        self._said: str | None = None
        self._was_cut_off = False

    @property
    def fields(self) -> dict[str, str]:
        """What the log says of the Lease."""
        return {"lease": f"{self._settings.namespace}/{self._settings.name}", "identity": self._settings.identity}

    def leads(self) -> bool:
        """Return whether this process may decide and write at this moment."""
        return self._until is not None and self._elapsed() < self._until

    def renewal_in(self) -> float:
        """Return in how many seconds the Lease is to be renewed: a third of it after its last renewal was sent.

        Not after that was answered: a slow answer would leave no time for the next one.
        """
        return max(0.0, self._sent + self._settings.seconds / 3 - self._elapsed())

    async def run(self, lead: Lead, stop: asyncio.Event) -> None:
        """Stand by, lead, and stand by again, until ``stop`` is set; then the Lease is given back.

        It is not if something may still be on its way to the API server: until the Lease ends by itself, that arrives.

        Args:
            lead: Called each time that the Lease is acquired, cancelled when it is lost.
            stop: Set when the operator is told to stop.

        Raises:
            Exception: Whatever ``lead`` failed with.

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
        """Acquire or renew the Lease, if that is possible now; return whether it is held.

        Raises:
            ConflictError: Somebody else was faster.
            CarillonError: The Lease cannot be read or written; whoever led leads until its time is over.

        """
        sent = self._elapsed()
        where = (self._settings.namespace, self._settings.name)
        try:
            found = await self._leases.get(*where)
        except NotFoundError:
            if self._seen is not None and not self._is_mine(self._seen) and not self._is_free(self._seen):
                self._until = None
                return False  # it was deleted, and whoever held it does not know that yet
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
        """Give the Lease back, so that the next need not wait for its end; nothing if another holds it.

        Raises:
            CarillonError: It could not be given back: it ends by itself.

        """
        self._until = None
        found = await self._leases.get(self._settings.namespace, self._settings.name)
        spec = found.get("spec") or {}
        if self._is_mine(spec):
            released = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
            await self._leases.update(found | {"spec": spec | released})
            log.info("released the Lease", **self.fields)

    async def _acquire(self, stop: asyncio.Event) -> bool:
        """Stand by until the Lease is held; return whether that came before ``stop``."""
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
            # a try that failed is repeated soon: until it is too late there is little time
            wait = self.renewal_in() if renewed else self._settings.seconds / 24
        log.warning("lost the Lease, standing by", **self.fields)

    async def _try(self) -> bool:
        """Acquire or renew, within a time that leaves room for another try; say once what is in the way."""
        leads = self.leads()
        # while it leads, not beyond its own end: it must be known by then. Else as long as there is something to gain:
        # what was cut off may be carried out all the same, and would keep the Lease from everybody
        seconds = min(self._settings.seconds / 4, self._left()) if leads else self._settings.seconds * 2 / 3
        try:
            async with asyncio.timeout(seconds):
                held = await self.attempt()
        except TimeoutError:
            if not leads:
                # who is this slow waits like anybody else for the end of what it may have got, and lets them go first
                self._acquired, self._was_cut_off = None, True
            return self._say("no response in time")
        except ConflictError:
            return False
        except CarillonError as error:
            return self._say(str(error))
        except Exception as error:  # such as a token that is just being written
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
        """Return whether this very process has written it, also if the answer to that got lost."""
        return self._acquired is not None and (spec.get("holderIdentity"), spec.get("acquireTime")) == (
            self._settings.identity,
            self._acquired,
        )

    def _is_free(self, spec: JSONObject) -> bool:
        """Return whether nobody holds it, or whoever did has not renewed it for as long as it lasts by its own word."""
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
