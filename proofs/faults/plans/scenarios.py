"""The tasks of a plan, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carillon_core.resources import names

TARGET = "{target}"
"""Stands for the URL of the counting HTTP target."""


@dataclass(frozen=True, slots=True)
class ScenarioTask:
    """The name and spec of a task."""

    name: str
    spec: Mapping[str, Any]

    def body(self, target: str) -> dict[str, Any]:
        """Return the ScheduledTask to create."""
        spec = dict(self.spec)
        if "http" in spec["task"]:
            http = spec["task"]["http"]
            spec["task"] = {"http": http | {"url": http["url"].replace(TARGET, target)}}
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": self.name},
            "spec": spec,
        }


@dataclass(frozen=True, slots=True)
class Scenario:
    """The tasks of a plan, and how their runners record."""

    tasks: Sequence[ScenarioTask]
    direct: bool = False
    """Whether the runners log in to Postgres themselves; by default they report to the recorder, as in the product."""


_HTTP = {"http": {"url": TARGET}}
_MIXED = (
    ScenarioTask("api", {"intervalSeconds": 2, "concurrencyPolicy": "Forbid", "task": _HTTP}),
    ScenarioTask("over", {"intervalSeconds": 3, "concurrencyPolicy": "Allow", "task": _HTTP}),
    ScenarioTask("count", {"intervalSeconds": 2, "task": {"counter": {"name": "n"}}}),
    # runs longer than its interval, so every other slot is skipped
    ScenarioTask("slow", {"intervalSeconds": 2, "task": {"sleep": {"durationSeconds": 3}}}),
)

SCENARIOS: Mapping[str, Scenario] = {
    "mixed": Scenario(_MIXED),
    "direct": Scenario(_MIXED, direct=True),
}
TURNS = ("mixed", "mixed", "mixed", "mixed", "direct")
"""The scenarios of successive plans."""


def turn(number: int) -> tuple[str, int]:
    """Return the scenario of a plan's number, and how many plans before it have the same scenario."""
    cycles, place = divmod(number, len(TURNS))
    scenario = TURNS[place]
    return scenario, cycles * TURNS.count(scenario) + TURNS[:place].count(scenario)
