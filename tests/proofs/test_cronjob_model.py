"""The model of a CronJob's schedules, compared with the results of the parser that its controller uses."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from carillon_cli.conversion.robfig import CronTimes, Every, NotACronJobScheduleError, fire_times, parse, split_zone

AFTER = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
FIVE_YEARS = 5 * 366 * 86_400
DAY = 86_400


def instant(text: str) -> int:
    """Return a time in seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())


def modelled(expression: str, until: int, most: int) -> list[int] | None:
    """Return the first times of an expression; None if the model refuses it."""
    zone, rest = split_zone(expression)
    try:
        schedule = parse(rest)
    except NotACronJobScheduleError:
        return None
    if isinstance(schedule, Every):
        return [AFTER + schedule.seconds * k for k in range(1, most + 1)]
    return fire_times(schedule, zone or "UTC", AFTER, until)[:most]


def test_the_model_has_the_times_of_cronjobs_parser_and_refuses_what_that_refuses() -> None:
    """The file has the parser's answers to a few hundred expressions; proofs/truth/cronjob writes it."""
    compared = 0
    for raw in map(json.loads, Path(__file__).with_name("cronjob_times.jsonl").read_text().splitlines()):
        times = [instant(text) for text in raw.get("times", ())]
        want = None if raw.get("error") else times
        until = times[-1] if times else AFTER + FIVE_YEARS
        assert modelled(raw["expression"], until, len(times) or 1) == want, raw["expression"]
        compared += len(times)
    assert compared > 2500


def test_the_model_has_the_times_of_cronjobs_parser_across_changes_of_the_clock() -> None:
    """The file has the number of times in 400 days, and a digest of them, in zones of all kinds.

    The parser goes astray where a clock changes by a part of an hour (Australia/Lord_Howe) or in the middle of one: in
    Pacific/Chatham it returns the same time for ever for ``45 1,3 * * *`` on 2024-04-06. The model does not follow it.
    """
    compared = 0
    for raw in map(json.loads, Path(__file__).with_name("cronjob_zones.jsonl").read_text().splitlines()):
        schedule = parse(raw["expression"])
        assert isinstance(schedule, CronTimes)
        times = fire_times(schedule, raw["zone"], AFTER, AFTER + 400 * DAY)
        digest = sha256("".join(f"{time}\n" for time in times).encode()).digest()[:8].hex()
        assert (len(times), digest) == (raw["times"], raw["digest"]), raw
        compared += len(times)
    assert compared > 300_000
