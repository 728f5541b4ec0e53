"""The tasks of a plan, as data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carillon_core.resources import names
from carillon_local.layout import SHELL_IMAGE
from faults.verdict.pulses import SCRIPT

TARGET = "{target}"
"""Stands for the URL of the counting HTTP target."""
PULSES = "{pulses}"
"""Stands for the file to which containers write while they live."""


@dataclass(frozen=True, slots=True)
class ScenarioTask:
    """The name and spec of a task."""

    name: str
    spec: Mapping[str, Any]

    def body(self, target: str, pulses: str = "") -> dict[str, Any]:
        """Return the ScheduledTask to create; pulses are written to the file named."""
        spec = json.loads(json.dumps(self.spec).replace(TARGET, target).replace(PULSES, pulses))
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
    shared: bool = False
    """Whether the operator also serves the namespace of another tenant."""
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

_STUBBORN = {
    "container": {
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": "PULSES", "value": PULSES}],
    }
}
_GRACE = (
    # ignores SIGTERM and runs longer than its interval
    ScenarioTask("stubborn", {"intervalSeconds": 2, "task": _STUBBORN}),
    # a runner, which ends on SIGTERM
    ScenarioTask("polite", {"intervalSeconds": 2, "task": {"sleep": {"durationSeconds": 3}}}),
    ScenarioTask("api", {"intervalSeconds": 2, "task": _HTTP}),
)

SCENARIOS: Mapping[str, Scenario] = {
    "mixed": Scenario(_MIXED),
    "direct": Scenario(_MIXED, direct=True),
    "grace": Scenario(_GRACE),
    "strangers": Scenario(_MIXED, shared=True),
}
TURNS = ("mixed", "grace", "mixed", "strangers", "mixed", "direct", "mixed", "grace", "mixed", "direct")
"""The scenarios of successive plans."""


def turn(number: int) -> tuple[str, int]:
    """Return the scenario of a plan's number, and how many plans before it have the same scenario."""
    cycles, place = divmod(number, len(TURNS))
    scenario = TURNS[place]
    return scenario, cycles * TURNS.count(scenario) + TURNS[:place].count(scenario)
