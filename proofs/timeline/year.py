"""Simulates and judges many tasks, and adds up the counts."""

from collections import Counter
from collections.abc import Iterable
from random import Random

from carillon_core.domain.decision.decide import decide
from timeline.oracle import judged, timeline_about
from timeline.simulation import Decide, Simulation
from timeline.tasks import make_script
from timeline.weather import make_weather

SHOWN = 3
"""How many failures are shown with the events around them."""


def simulate(seed: int, numbers: Iterable[int], days: int, decides: Decide = decide) -> tuple[list[str], Counter[str]]:
    """Return the faults found, the first with their timelines, and the counts."""
    weather = make_weather(Random(f"{seed} weather"), days)  # noqa: S311  # reproducible, not a secret
    faults: list[str] = []
    counts: Counter[str] = Counter()
    for number in numbers:
        rng = Random(f"{seed} task {number}")  # noqa: S311  # reproducible, not a secret
        trace = Simulation(make_script(number, rng, days), weather, rng, decides).run()
        found, counted = judged(trace, weather)
        faults += [timeline_about(trace, f) if len(faults) < SHOWN and k == 0 else f for k, f in enumerate(found)]
        counts += counted
    return faults, counts
