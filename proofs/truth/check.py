"""Compares our fire times with the simulated daemon, around every clock change and at random instants."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from carillon_core.domain.timetable.clock import FIRST_INSTANT, LAST_INSTANT
from carillon_core.domain.timetable.schedule import InvalidScheduleError, cron_schedule
from carillon_core.resources.base import rfc3339
from truth.expressions import random_expression
from truth.oracle import (
    DAY,
    HOUR,
    MINUTE,
    WARM_UP,
    Meaning,
    Window,
    after_in,
    before_in,
    clock_changes,
    instant_of,
    near,
    next_slot,
    when,
    zone_offsets,
)
from truth.peers import Peers

FIRST = instant_of(datetime(1970, 1, 2, tzinfo=UTC))
LAST = instant_of(datetime(2038, 1, 1, tzinfo=UTC))
LAST_OTHER = instant_of(datetime(2120, 1, 1, tzinfo=UTC))
INSTANTS = 16
"""The number of instants per expression and window."""
QUIET_WINDOWS = 4
"""The number of windows per zone without a clock change."""
RARE = 3
"""The number of expressions per zone that are followed over decades, date by date."""
PEERS_SHARE = 0.06
"""The share of triples for which croniter and cronsim are asked too; they take a hundred times as long."""


@dataclass(slots=True)
class Account:
    """The counts and the failures."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Account") -> None:
        """Add the counts and failures of another account."""
        self.counts.update(other.counts)
        self.failures.extend(other.failures)

    def fail(self, expression: str, zone: str, after: datetime, what: str) -> None:
        """Record a failure with the command that replays it."""
        self.failures.append(f"{what}\n    {replay_command(expression, zone, after)}")


def replay_command(expression: str, zone: str, after: datetime) -> str:
    """Return the shell command that shows one triple."""
    return f".venv/bin/python -m truth --replay {shlex.quote(expression)} {zone} {after.isoformat()}"


def check_zone(name: str, seed: int, per_change: float, *, peers: bool = True) -> Account:
    """Compare around every clock change of a zone from 1970 to 2037, and at other instants.

    Args:
        name: The zone.
        seed: Combined with the name of the zone, so that zones can be split among processes.
        per_change: The approximate number of triples for each change.
        peers: Ask croniter and cronsim too.

    """
    draw = Random(f"{seed} {name}")  # noqa: S311  # reproducible, not a secret
    zone = ZoneInfo(name)
    changes = clock_changes(zone, FIRST, LAST)
    account = Account()
    account.counts["clock changes"] = len(changes)
    check = _ZoneCheck(name, zone, draw, account, Peers(zone, changes, account.counts) if peers else None)
    for change in changes:
        check.about(change, per_change)
    for _ in range(QUIET_WINDOWS):
        instant = draw.randrange(FIRST + WARM_UP, LAST_OTHER)
        if not near(changes, instant - WARM_UP - DAY, instant + DAY) and instant < LAST:
            check.about(instant, max(per_change, INSTANTS))
    check.peers = None  # they do not reach the ends of time
    check.edges()
    for _ in range(RARE):
        check.rare(draw.randrange(FIRST, LAST_OTHER))
    return account


@dataclass(slots=True)
class _ZoneCheck:
    name: str
    zone: ZoneInfo
    draw: Random
    account: Account
    peers: Peers | None

    def about(self, change: int, triples: float) -> None:
        """Compare about ``triples`` triples of several expressions around an instant."""
        offset_at = zone_offsets(self.zone)
        shift = offset_at(change) - offset_at(change - 1)
        windows: dict[bool, Window] = {}
        while triples > self.draw.uniform(0, INSTANTS):  # a random bound spreads few triples over all changes
            seconds = self.draw.random() < 0.15
            if seconds not in windows:
                repeat = max(0, -shift)
                start, end = (
                    (change - 10 * MINUTE, change + repeat + 15 * MINUTE)
                    if seconds
                    else (change - 4 * HOUR - abs(shift), change + 18 * HOUR + abs(shift))
                )
                windows[seconds] = Window.walk(self.zone, start, end, by_second=seconds)
            wall = change + offset_at(change - 1) + self.draw.randint(-2 * HOUR, 2 * HOUR)
            expression = random_expression(self.draw, wall, seconds=seconds)
            triples -= self._compare(expression, windows[seconds], change)

    def edges(self) -> None:
        """Compare at the ends of the supported time, beyond which there are no slots."""
        for seconds, length in ((False, 12 * HOUR), (True, 10 * MINUTE)):
            for start, end in ((FIRST_INSTANT, FIRST_INSTANT + length), (LAST_INSTANT - length, LAST_INSTANT)):
                window = Window.walk(self.zone, start, end, by_second=seconds)
                near = self.draw.choice((start, end)) + self.draw.randint(-10, 10)
                expression = random_expression(self.draw, near + zone_offsets(self.zone)(start), seconds=seconds)
                self.account.counts["triples at the ends of time"] += self._compare(expression, window, end)

    def _compare(self, expression: str, window: Window, change: int) -> int:
        """Compare one expression at several instants of a window; return the number of instants."""
        try:
            schedule = cron_schedule(expression, self.name)
        except InvalidScheduleError as error:
            self._refused(expression, error)
            return 0
        slots = window.slots(Meaning(expression))
        for instant in self._instants(window, slots, change):
            after = when(instant) + timedelta(microseconds=self.draw.choice([0, 0, 0, self.draw.randrange(1_000_000)]))
            want, got = after_in(slots, instant), schedule.next_fire_time(after)
            if want is None:
                right = got is None or got > when(window.end)
                self.account.counts["nothing in the window"] += 1
            else:
                right = got == when(want)
            if not right:
                self.account.fail(expression, self.name, after, f"next: daemon {_text(want)}, calculus {got}")
            want, back = before_in(slots, instant), schedule.previous_fire_time(after)
            right = back == when(want) if want is not None else back is None or back < when(window.start)
            if not right:
                self.account.fail(expression, self.name, after, f"previous: daemon {_text(want)}, calculus {back}")
            self.account.counts["triples"] += 1
            self.account.counts["triples of six fields"] += window.by_second
            if self.peers is not None and self.draw.random() < PEERS_SHARE:
                for difference in self.peers.differences(schedule, expression, after, got):
                    self.account.fail(expression, self.name, after, difference)
        return INSTANTS

    def _instants(self, window: Window, slots: list[int], change: int) -> Iterator[int]:
        for number in range(INSTANTS):
            kind = number % 4
            if kind == 0:
                instant = change + self.draw.choice([-1, 0, 1, self.draw.randint(-HOUR, HOUR)])
            elif kind == 1 and slots:
                instant = self.draw.choice(slots) - self.draw.randint(0, 1)
            else:
                instant = self.draw.randint(window.start, window.end)
            yield min(max(instant, window.start), window.end)

    def _refused(self, expression: str, error: InvalidScheduleError) -> None:
        """Check that an expression refused as never firing never does: 28 years contain every form of a month."""
        meaning = Meaning(expression)
        never = not any(map(meaning.day, range(730, 730 + 28 * 366)))
        if not (never and "never fires" in str(error)):
            self.account.fail(expression, self.name, when(0), f"refused: {error}")
        self.account.counts["refused correctly: never fires"] += 1

    def rare(self, instant: int) -> None:
        """Follow an expression date by date until it fires."""
        expression = random_expression(self.draw, instant, seconds=False)
        try:
            schedule = cron_schedule(expression, self.name)
        except InvalidScheduleError as error:
            self._refused(expression, error)
            return
        want, got = next_slot(expression, self.zone, instant), schedule.next_fire_time(when(instant))
        if want != (got and instant_of(got)):
            self.account.fail(expression, self.name, when(instant), f"next: daemon {_text(want)}, calculus {got}")
        self.account.counts["triples"] += 1
        self.account.counts["triples followed date by date"] += 1


def _text(instant: int | None) -> str:
    return "nothing" if instant is None else rfc3339(when(instant))
