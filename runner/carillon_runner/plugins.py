"""Task types of other packages: how they are written, and how they are run.

A package brings a task type by an entry point of the group ``carillon.tasks``,
a function of one argument that returns its result, a JSON object::

    [project.entry-points."carillon.tasks"]
    thumbnails = "shop_tasks:make_thumbnails"

    def make_thumbnails(execution):
        for name in execution.parameters["names"]: ...
        return {"made": 3}

``Execution`` and ``Failure`` are the whole of what such a package may rely on.
It need not import either: it is given the one, and any exception is a failure.

It runs in a child process. SIGTERM there raises an exception that is no
``Exception``, with ``GRACE_SECONDS`` to clean up; after a time-out it is the
same. What it leaves behind, threads and processes, ends with the pod.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from carillon_core.contract import ENV_DATABASE_URL, ENV_EXECUTION_TOKEN, ENV_SECRET_PREFIX
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
    """What a plugin is given."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """``spec.task.plugin.parameters``, as they stand, with those of the RunRequest."""

    @property
    def slot(self) -> datetime:
        """The nominal time of the execution, aware, in UTC."""

    @property
    def execution_id(self) -> UUID:
        """The same in all attempts: the key by which to do a thing once."""

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
    """What a plugin raises to name the class of its failure, or to say whether another attempt may mend it."""

    def __init__(self, reason: str, message: str, *, again: bool = True, retry_after: float | None = None) -> None:
        """Keep what the execution's row shall say.

        Args:
            reason: The class, one word: ``QuotaExceeded``.
            message: What went wrong, for people, without secrets.
            again: Whether the retry policy applies.
            retry_after: How many seconds another attempt has to wait at least.

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
    from carillon_runner.interrupts import Stopped  # noqa: PLC0415  # loaded before, if anybody can raise it

    # the plugin has no business with the history: what is not there cannot be logged by mistake
    for name in [n for n in os.environ if n in _SECRETS or n.startswith(ENV_SECRET_PREFIX)]:
        del os.environ[name]
    name = str(execution.spec.get("name", ""))
    try:
        return {"result": _checked(name, _load(name)(_given(execution, name)))}
    except TaskFailedError as failure:
        return _said(failure.reason, failure.message, again=failure.again)
    except Stopped as stopped:
        return _said("Terminated", stopped.message)
    except Failure as failure:
        return _said(str(failure.reason), str(failure), again=bool(failure.again), retry_after=failure.retry_after)
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like are failures as any other
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
        known = f"installed are {listed}" if names else "none is installed"
        raise TaskFailedError(
            "PluginNotFound", f"no installed package brings the task type {name[:100]!r} (group {GROUP}): {known}"
        )
    if len(found) > 1:
        raise TaskFailedError("PluginBroken", f"several packages bring the task type {name!r}: {', '.join(found)}")
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
        raise TaskFailedError("PluginBroken", f"the plugin {name} is no function: {value}")
    return function


def _checked(name: str, result: Any) -> Mapping[str, Any]:
    """Return a plugin's result if it is a JSON object that is not too long."""
    if not isinstance(result, Mapping) or not all(isinstance(key, str) for key in result):
        raise TaskFailedError(
            "PluginBroken", f"the plugin {name} returned {type(result).__name__}: it must be a mapping with text keys"
        )
    whole = dict(result)
    try:
        length = len(json.dumps(whole, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskFailedError(
            "PluginBroken", f"the plugin {name} returned what JSON cannot hold: {type(error).__name__}: {error}"
        ) from error
    if length > RESULT_LIMIT:
        raise TaskFailedError(
            "PluginBroken", f"the plugin {name} returned {length} characters of JSON: at most {RESULT_LIMIT} are kept"
        )
    return whole
