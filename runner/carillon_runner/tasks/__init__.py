"""The task types. One module for each, imported when an execution needs it."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from carillon_runner.outcome import TaskFailedError, TaskFunction

TASK_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "counter": "carillon_runner.tasks.counter",
        "http": "carillon_runner.tasks.http_request",
        "plugin": "carillon_runner.tasks.plugin",
        "sleep": "carillon_runner.tasks.sleep",
        "sum": "carillon_runner.tasks.addition",
    }
)
"""Task type → the module whose ``run`` is its ``TaskFunction``."""


def task_function(task_type: str) -> TaskFunction:
    """Return the function that runs tasks of this type.

    Raises:
        TaskFailedError: This runner does not know the type (``UnknownTaskType``).

    """
    module = TASK_MODULES.get(task_type)
    if module is None:
        known = ", ".join(sorted(TASK_MODULES))
        raise TaskFailedError(
            "UnknownTaskType",
            f"this runner does not know the task type {task_type[:100]!r}, only {known}: use a newer runner image",
        )
    run: TaskFunction = import_module(module).run
    return run
