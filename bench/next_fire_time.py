"""Measure the next and previous fire time in microseconds, and compare with cronsim and croniter.

    .venv/bin/python bench/next_fire_time.py

The best of several rounds, so that a busy machine disturbs little. ``first``
is the first question to a schedule in a zone whose clock is not known yet.
"""

import statistics
import timeit
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from carillon_core.domain.timetable.clock import ZoneClock
from carillon_core.domain.timetable.cron_text import parse_cron
from carillon_core.domain.timetable.schedule import CronSchedule, cron_schedule, last_fire_times

AFTER = datetime(2026, 1, 1, 5, tzinfo=UTC)
ROUNDS, CALLS = 5, 400
CASES = (
    ("* * * * *", "UTC"),
    ("*/5 * * * *", "UTC"),
    ("* * * * * *", "Europe/Berlin"),
    ("0 3 * * *", "Europe/Berlin"),
    ("0 9 * * 1-5", "America/New_York"),
    ("0 0 L * *", "Europe/Berlin"),
    ("0 0 * * 2#2", "Asia/Gaza"),
    ("0 0 29 2 *", "UTC"),
    ("* * 29 2 *", "Europe/Berlin"),
    ("0 0 * 2 1#5", "UTC"),
)


def main() -> None:
    """Print the table."""
    print(f"{'µs a call':34}{'next':>8}{'prev':>8}{'first':>8}{'cronsim':>9}{'croniter':>10}")
    for expression, zone in CASES:
        schedule = cron_schedule(expression, zone)
        cells = (
            best(schedule.next_fire_time, AFTER),
            best(schedule.previous_fire_time, AFTER),
            first_question(expression, zone),
            best(cronsim_next, expression, zone),
            best(croniter_next, expression, zone),
        )
        print(
            f"{expression + '  ' + zone:34}"
            + "".join(f"{c:{w}.1f}" for c, w in zip(cells, (8, 8, 8, 9, 10), strict=True))
        )
    schedule = cron_schedule("* * * * * *", "Europe/Berlin")
    year = best(last_fire_times, schedule, AFTER - timedelta(days=366), AFTER, 100, calls=10)
    print(f"the last 100 slots of a year of missed seconds: {year:.0f} µs")


def best(function: Callable[..., object], *arguments: object, calls: int = CALLS) -> float:
    """Return the microseconds per call of the best round."""
    return min(timeit.repeat(lambda: function(*arguments), number=calls, repeat=ROUNDS)) / calls * 1e6


def first_question(expression: str, zone: str) -> float:
    """Return the microseconds of the first call, with parsing and the clock of the zone."""
    times = []
    for _ in range(20):
        begun = perf_counter()
        CronSchedule(parse_cron(expression), ZoneInfo(zone), ZoneClock(ZoneInfo(zone))).next_fire_time(AFTER)
        times.append(perf_counter() - begun)
    return statistics.median(times) * 1e6


def cronsim_next(expression: str, zone: str) -> datetime | None:
    """Return cronsim's answer."""
    return next(CronSim(expression, AFTER.astimezone(ZoneInfo(zone))), None)


def croniter_next(expression: str, zone: str) -> datetime:
    """Return croniter's answer."""
    six = len(expression.split()) == 6  # noqa: PLR2004  # seconds first
    found: datetime = croniter(expression, AFTER.astimezone(ZoneInfo(zone)), second_at_beginning=six).get_next(datetime)
    return found


if __name__ == "__main__":
    main()
