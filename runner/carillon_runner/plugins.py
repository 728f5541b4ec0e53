"""Task types from other packages: how to write them, and how they are run.

A package provides a task type by an entry point in the group ``carillon.tasks``: a
function of one argument that returns a JSON object as its result::

    [project.entry-points."carillon.tasks"]
    thumbnails = "shop_tasks:make_thumbnails"

    def make_thumbnails(execution):
        for name in execution.parameters["names"]: ...
        return {"made": 3}

``Execution`` and ``Failure`` are the stable API for such packages. They need not
import either: the execution is an argument, and any exception is a failure.

It runs in a child process. SIGTERM and timeouts raise an exception that is not an
``Exception``, with ``GRACE_SECONDS`` to clean up. Threads and processes that it
leaves behind end with the pod.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from carillon_core.contract import ENV_DATABASE_URL, ENV_EXECUTION_TOKEN, ENV_SECRET_PREFIX, REASON_TERMINATED
from carillon_runner.outcome import Execution as TaskExecution
from carillon_runner.outcome import TaskFailedError, storable

GROUP = "carillon.tasks"
RESULT_LIMIT = 102_400
"""Characters of a result, encoded as JSON."""
_SECRETS = frozenset({ENV_DATABASE_URL, ENV_EXECUTION_TOKEN})
GRACE_SECONDS = 5.0
_WORDS_LIMIT = 500
_LISTED = 20


class Execution(Protocol):
    """The argument of a plugin."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """``spec.task.plugin.parameters``, merged with those of the RunRequest."""

    @property
    def slot(self) -> datetime:
        """The nominal time of the execution, aware, in UTC."""

    @property
    def execution_id(self) -> UUID:
        """The same in all attempts, for use as an idempotency key."""

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""

    @property
    def deadline(self) -> float:
        """When the attempt is ended, on ``time.monotonic``'s clock."""

    @property
    def log(self) -> logging.Logger:
        """The pod's log."""


class Failure(Exception):  # noqa: N818  # a plugin raises it: ``raise Failure("QuotaExceeded", …)`` says it
    """Raised by a plugin to name the class of its failure and whether to retry."""

    def __init__(self, reason: str, message: str, *, again: bool = True, retry_after: float | None = None) -> None:
        """Keep the fields of the execution's row.

        Args:
            reason: The class, one word: ``QuotaExceeded``.
            message: What went wrong, for people, without secrets.
            again: Whether the retry policy applies.
            retry_after: Minimum number of seconds before another attempt.

        """
        super().__init__(message)
        self.reason = reason
        self.again = again
        self.retry_after = None if retry_after is None else float(retry_after)


@dataclass(frozen=True, slots=True)
class _Given:
    """``Execution`` for the plugin."""

    parameters: Mapping[str, Any]
    slot: datetime
    execution_id: UUID
    attempt: int
    deadline: float
    log: logging.Logger


def run_plugin(execution: TaskExecution) -> dict[str, Any]:
    """Run the plugin in this process; return ``{"result": …}`` or ``{"reason", "error", "again", "retryAfter"}``."""
    from carillon_runner.interrupts import Stopped  # noqa: PLC0415  # already loaded if it can be raised

    # the plugin does not need these, and cannot log them by mistake
    for name in [n for n in os.environ if n in _SECRETS or n.startswith(ENV_SECRET_PREFIX)]:
        del os.environ[name]
    name = str(execution.spec.get("name", ""))
    try:
        return {"result": _checked(name, _load(name)(_given(execution, name)))}
    except TaskFailedError as failure:
        return _said(failure.reason, failure.message, again=failure.again)
    except Stopped as stopped:
        return _said(REASON_TERMINATED, stopped.message)
    except Failure as failure:
        return _said(str(failure.reason), str(failure), again=bool(failure.again), retry_after=failure.retry_after)
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like are failures too
        words = " ".join(str(error).split())
        named = type(error).__name__
        return _said(named, f"the plugin {name} raised {named}" + (f": {words}" if words else ""))


def _said(reason: str, error: str, *, again: bool | None = None, retry_after: float | None = None) -> dict[str, Any]:
    return {
        "reason": storable(reason),
        "error": storable(error)[:_WORDS_LIMIT],
        "again": again,
        "retryAfter": retry_after,
    }


def _given(execution: TaskExecution, name: str) -> Execution:
    environment = execution.environment
    return _Given(
        parameters=execution.spec.get("parameters") or {},
        slot=environment.slot.astimezone(UTC),
        execution_id=environment.execution_id,
        attempt=execution.attempt,
        deadline=execution.deadline,
        log=logging.getLogger(f"carillon.plugin.{name}"),
    )


def _load(name: str) -> Any:
    """Return the function that an entry point names."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # 30 ms: only for a plugin

    from carillon_runner.interrupts import Stopped  # noqa: PLC0415  # see run_plugin

    installed = entry_points(group=GROUP)
    found = {point.value: point for point in installed if point.name == name}
    if not found:
        names = sorted({point.name for point in installed})
        listed = ", ".join(names[:_LISTED]) + (" and more" if len(names) > _LISTED else "")
        known = f"installed: {listed}" if names else "none are installed"
        raise TaskFailedError(
            "PluginNotFound", f"no installed package provides the task type {name[:100]!r} (group {GROUP}); {known}"
        )
    if len(found) > 1:
        raise TaskFailedError("PluginBroken", f"several packages provide the task type {name!r}: {', '.join(found)}")
    ((value, point),) = found.items()
    try:
        function = point.load()
    except Stopped:
        raise
    except BaseException as error:
        words = " ".join(str(error).split())
        raise TaskFailedError(
            "PluginBroken", f"the plugin {name} cannot be imported from {value}: {type(error).__name__}: {words}"
        ) from error
    if not callable(function):
        raise TaskFailedError("PluginBroken", f"the plugin {name} is not a function: {value}")
    return function


def _checked(name: str, result: Any) -> Mapping[str, Any]:
    """Return a plugin's result if it is a JSON object within the size limit."""
    if not isinstance(result, Mapping) or not all(isinstance(key, str) for key in result):
        raise TaskFailedError(
            "PluginBroken", f"the plugin {name} returned {type(result).__name__}: it must be a mapping with text keys"
        )
    whole = dict(result)
    try:
        length = len(json.dumps(whole, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskFailedError(
            "PluginBroken",
            f"the plugin {name} returned something that JSON cannot encode: {type(error).__name__}: {error}",
        ) from error
    if length > RESULT_LIMIT:
        raise TaskFailedError(
            "PluginBroken",
            f"the plugin {name} returned {length} characters of JSON: at most {RESULT_LIMIT} are allowed",
        )
    return whole
