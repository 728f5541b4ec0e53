"""``make timeline``: simulate tasks for days and print the outcome of their slots.

python -m timeline [--seed N] [--tasks N] [--days N] [--jobs N]
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import SystemRandom

from timeline.year import simulate

SHOWN_FAULTS = 20


def main(arguments: list[str]) -> int:
    """Return 0 if every slot of every task is accounted for."""
    parser = argparse.ArgumentParser(prog="timeline", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="random seed; default: a new one")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else SystemRandom().randrange(1_000_000)
    print(f"timeline: seed {seed}, {options.tasks} tasks, {options.days} days", flush=True)
    begun = time.monotonic()
    faults: list[str] = []
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(options.jobs) as pool:
        parts = [range(k, options.tasks, options.jobs * 4) for k in range(options.jobs * 4)]
        for found, counted in pool.map(simulate, *zip(*((seed, p, options.days) for p in parts), strict=True)):
            faults += found
            counts += counted
    for what, count in sorted(counts.items()):
        print(f"{count:>12,}  {what}")
    for fault in faults[:SHOWN_FAULTS]:
        print(fault)
    verdict = f"FAILED: {len(faults)} faults" if faults else "every slot is accounted for once"
    print(f"{time.monotonic() - begun:.0f} s, seed {seed}: {verdict}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
