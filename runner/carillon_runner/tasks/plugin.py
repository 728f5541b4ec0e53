"""The task type ``plugin``: a function of an installed package, in a child process."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from carillon_runner.isolated import ChildLostError, call_isolated
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.plugins import GRACE_SECONDS, run_plugin


def run(execution: Execution) -> Mapping[str, Any]:
    """Call the plugin and return its result.

    Raises:
        TaskFailedError: No package provides it (``PluginNotFound``); it cannot be imported, or returned no JSON object
            (``PluginBroken``); its process ended before it returned (``PluginCrashed``); or it raised an error.

    """
    try:
        answer = call_isolated(partial(run_plugin, execution), grace_seconds=GRACE_SECONDS)
    except ChildLostError as error:
        name = str(execution.spec.get("name", ""))[:100]
        raise TaskFailedError("PluginCrashed", f"the plugin {name} did not return: its process {error}") from error
    if "reason" in answer:
        raise TaskFailedError(
            answer["reason"], answer["error"], again=answer["again"], retry_after=answer["retryAfter"]
        )
    result: Mapping[str, Any] = answer["result"]
    return result
