"""``make truth``: check fire times against independent implementations, and print the counts.

    python -m truth [--triples N] [--seed N] [--jobs N] [--zones NAME ...]
    python -m truth --replay EXPRESSION ZONE INSTANT

A triple is an expression, a zone and an instant. They are spread over all clock
changes of all zones from 1970 to 2037. A failure prints the command that
replays it.
"""

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo, available_timezones

from carillon_core.domain.timetable.schedule import cron_schedule
from truth.check import Account, check_zone
from truth.oracle import instant_of, next_slot, when
from truth.peers import RULES, ask_croniter, ask_cronsim

ALL_CHANGES = 30_400
"""The approximate number of clock changes of all zones from 1970 to 2037."""
SHOWN_FAILURES = 20


def main(arguments: list[str]) -> int:
    """Return 0 if everything agrees or a triple was replayed."""
    parser = argparse.ArgumentParser(prog="truth", description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=1_000_000, help="approximate number of triples")
    parser.add_argument("--seed", type=int, default=None, help="random seed; default: a new one")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--zones", nargs="+", default=None, help="check only these zones")
    parser.add_argument(
        "--replay", nargs=3, metavar=("EXPRESSION", "ZONE", "INSTANT"), help="show the answers for one triple"
    )
    options = parser.parse_args(arguments)
    if options.replay:
        replay(*options.replay)
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    zones = options.zones or sorted(available_timezones() - {"localtime", "posixrules", "Factory"})
    print(f"truth: seed {seed}, {len(zones)} zones, about {options.triples:,} triples", flush=True)
    begun = time.monotonic()
    account = Account()
    check = partial(check_zone, seed=seed, per_change=options.triples / ALL_CHANGES)
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, part in enumerate(pool.map(check, zones, chunksize=1), start=1):
            _show(part.failures, already=len(account.failures))
            account.add(part)
            if number % 100 == 0:
                print(f"truth: {number} zones, {account.counts['triples']:,} triples", flush=True)
    report(account)
    print(f"{time.monotonic() - begun:.0f} s, seed {seed}: {'FAILED' if account.failures else 'all agree'}")
    return 1 if account.failures else 0


def report(account: Account) -> None:
    """Print the counts, the rules that explain differences, and how many failures were not shown."""
    for what, count in sorted(account.counts.items()):
        print(f"{count:>12,}  {what}")
    for rule, sentence in RULES.items():
        if any(what.endswith(rule) for what in account.counts):
            print(f"  - {rule}: {sentence}")
    if len(account.failures) > SHOWN_FAILURES:
        print(f"... and {len(account.failures) - SHOWN_FAILURES} more failures")


def _show(failures: list[str], already: int) -> None:
    """Print failures as soon as they are found: the whole proof takes minutes."""
    for failure in failures[: max(0, SHOWN_FAILURES - already)]:
        print(failure, flush=True)


def replay(expression: str, zone_name: str, text: str) -> None:
    """Print every answer for one triple."""
    zone, after = ZoneInfo(zone_name), datetime.fromisoformat(text)
    slot = next_slot(expression, zone, instant_of(after))
    schedule = cron_schedule(expression, zone_name)
    print(f"after     {after.astimezone(zone).isoformat()}  {after.isoformat()}")
    said: dict[str, datetime | None] = {
        "daemon": None if slot is None else when(slot),
        "calculus": schedule.next_fire_time(after),
        "previous": schedule.previous_fire_time(after),
    }
    for name, ask in (("croniter", ask_croniter), ("cronsim", ask_cronsim)):
        try:
            said[name] = ask(expression, after.astimezone(zone))
        except ValueError as error:
            print(f"{name:9} {error}")
    for name, time_ in said.items():
        print(f"{name:9} {time_ and time_.astimezone(zone).isoformat()}  {time_ and time_.isoformat()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
