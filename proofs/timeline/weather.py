"""Events that affect all tasks in a simulated year: outages of operator and database, clock steps."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TOLERANCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Outage:
    """A component is down in ``[since, until)``."""

    since: datetime
    until: datetime
    killed: bool
    """Whether it had no time to write its state."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The same for all tasks; in true time."""

    end: datetime
    operator: tuple[Outage, ...]
    database: tuple[Outage, ...]
    steps: tuple[tuple[datetime, timedelta], ...]
    """When the operator's clock changes, and its new error."""

    def offset(self, when: datetime) -> timedelta:
        """Return how far the operator's clock is ahead."""
        at = bisect_right(self.steps, when, key=lambda step: step[0])
        return self.steps[at - 1][1] if at else timedelta()

    def database_back(self, when: datetime) -> datetime:
        """Return the first time at or after this one at which the database is up."""
        return next((o.until for o in self.database if o.since <= when < o.until), when)

    def stepped_back(self) -> list[tuple[datetime, datetime]]:
        """Return the periods of the operator's clock that repeat after a step larger than the tolerance."""
        found, ahead = [], timedelta()
        for when, offset in self.steps:
            if ahead - offset > TOLERANCE:
                found.append((when + offset, when + ahead))
            ahead = offset
        return found


def make_weather(rng: Random, days: int) -> Weather:
    """Return the weather of a number of days; nothing happens on the last."""
    fair = BEGIN + timedelta(days=days - 1)
    return Weather(
        end=BEGIN + timedelta(days=days, minutes=17, seconds=31),
        operator=_outages(rng, fair, days, 9, 2 * 86_400),
        database=_outages(rng, fair, days, 18, 3 * 86_400),
        steps=_steps(rng, fair, days),
    )


def _outages(rng: Random, fair: datetime, days: int, every: int, longest: int) -> tuple[Outage, ...]:
    found: list[Outage] = []
    for since in sorted(BEGIN + timedelta(seconds=rng.randrange(days * 86_400)) for _ in range(max(2, days // every))):
        lasts = timedelta(seconds=int(5 * (longest / 5) ** rng.random()))
        if since + lasts < fair and (not found or since > found[-1].until):
            found.append(Outage(since, since + lasts, rng.random() < 0.7))
    return tuple(found)


def _steps(rng: Random, fair: datetime, days: int) -> tuple[tuple[datetime, timedelta], ...]:
    """Return clock steps by seconds, and a few by an hour, each undone after a while."""
    found: list[tuple[datetime, timedelta]] = []
    for number in range(max(2, days // 24)):
        since = BEGIN + timedelta(seconds=rng.randrange(days * 86_400))
        size = 3600 if number % 4 == 0 else rng.randrange(1, 55)
        until = since + timedelta(seconds=rng.randrange(60, 6 * 3600))
        if until < fair and (not found or since > found[-1][0]):
            found += [(since, timedelta(seconds=size * rng.choice((1, -1)))), (until, timedelta())]
    return tuple(found)
