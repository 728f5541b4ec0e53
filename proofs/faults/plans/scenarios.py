"""The tasks of a plan, as data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carillon_core.resources import names
from carillon_local.layout import SHELL_IMAGE
from faults.verdict.pulses import script

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
        "command": ["sh", "-c", script(12, 0.2, stubborn=True)],
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

_SHAKY = {
    "container": {
        "image": SHELL_IMAGE,
        # the first process of each execution fails at once, often before the operator knows its Job
        "command": ["sh", "-c", script(2, 0.2, stubborn=False, fails_first=True)],
        "env": [{"name": "PULSES", "value": PULSES}],
    }
}
_EVERY_SECOND = {"limit": 3, "initialDelaySeconds": 1, "factor": 1, "jitter": 0}
_RETRIES = (
    ScenarioTask("shaky", {"intervalSeconds": 2, "retry": _EVERY_SECOND, "task": _SHAKY}),
    ScenarioTask("api", {"intervalSeconds": 2, "task": _HTTP}),
)

TASKS: Mapping[str, Scenario] = {
    "mixed": Scenario(_MIXED),
    "direct": Scenario(_MIXED, direct=True),
    "grace": Scenario(_GRACE),
    "retries": Scenario(_RETRIES),
    "strangers": Scenario(_MIXED, shared=True),
}
"""Scenarios of ScheduledTasks, which are due every two or three seconds."""

SHORT, LONG = 2, 80
"""For how many seconds containers of CronJobs live: less than a minute, or past the next slot."""


def _minutely(name: str, policy: str, seconds: int, *, stubborn: bool = False) -> ScenarioTask:
    """Return a task for a CronJob, whose slots are at least a minute apart."""
    command = ["sh", "-c", script(seconds, 1, stubborn=stubborn)]
    spec = {
        "schedule": "* * * * *",
        "concurrencyPolicy": policy,
        "startingDeadlineSeconds": 120,  # a slot may start as late as one that waits for an execution does
        "task": {"container": {"image": SHELL_IMAGE, "command": command, "env": [{"name": "PULSES", "value": PULSES}]}},
    }
    return ScenarioTask(name, spec)


_MINUTELY = (
    _minutely("api", "Forbid", SHORT),
    _minutely("over", "Allow", LONG),
    _minutely("slow", "Forbid", LONG),
    _minutely("swap", "Replace", LONG),
)

CRONJOBS: Mapping[str, Scenario] = {
    "cron": Scenario(_MINUTELY),
    "cron-grace": Scenario(
        (
            _minutely("stubborn", "Forbid", LONG, stubborn=True),
            _minutely("polite", "Forbid", LONG),
            _minutely("api", "Forbid", SHORT),
        )
    ),
    "cron-strangers": Scenario(_MINUTELY, shared=True),
}
"""The same for CronJobs."""
SCENARIOS: Mapping[str, Scenario] = {**TASKS, **CRONJOBS}
