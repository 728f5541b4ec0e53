"""The task type ``counter``."""

from collections.abc import Mapping
from typing import Any

from carillon_runner.outcome import Execution


def run(execution: Execution) -> Mapping[str, Any]:
    """Increment a counter exactly once and close the row with it; return ``{"counter": name, "value": n}``."""
    name = execution.spec.get("name") or execution.environment.task
    return {"counter": name, "value": execution.count(name)}
