"""Structured logging for the operator, the API and ``carillon-migrate``: one line per event on standard error.

Each ``__main__`` calls ``configure_logging`` once. A module logs through
``get_logger``: the message is a fixed phrase to search for, and values are
keyword arguments (``log.info("launched", job=name)``). Fields that a whole
piece of work shares, such as a request's id, are bound once with
``log_context``; they then appear in every line of that work, including the
lines of libraries.

The records are ordinary ``logging`` records: the message is the phrase, and
the attribute ``fields`` holds the values. Third-party handlers therefore see
a readable message, and records of libraries go through the same formatter.
The runner does not use this module: importing structlog would slow down the
start of each pod (see ``carillon_runner.logs``).
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, cast

import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, Processor

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_ABOUT_THE_CALL = ("exc_info", "stack_info")
"""Keyword arguments that ``logging`` takes itself; every other one is a field."""

Logger = structlog.stdlib.BoundLogger
log_context = bound_contextvars
"""Add fields to every line that this task, and the tasks it starts meanwhile, logs until the block ends."""


def get_logger(name: str) -> Logger:
    """Return the logger of this name; its methods take the fields of the line as keyword arguments."""
    processors: list[Processor] = [structlog.stdlib.filter_by_level, _as_record]
    logger = structlog.wrap_logger(
        logging.getLogger(name), processors=processors, wrapper_class=Logger, cache_logger_on_first_use=True
    )
    return cast("Logger", logger)


def formatter(form: str) -> logging.Formatter:
    """Return the formatter for records of our own and of libraries.

    Args:
        form: ``json`` for one JSON object per line, with the keys ``time`` (RFC 3339, UTC), ``level``, ``logger``,
            ``message``, then the fields and ``exception``; ``text`` for ``time level message key=value …``.

    """
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_fields,
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    ]
    render = structlog.processors.JSONRenderer(default=str) if form == "json" else _as_text
    return structlog.stdlib.ProcessorFormatter(processors=[*chain, render])


def configure_logging(level: str, form: str) -> None:
    """Send the root logger's records to standard error.

    Args:
        level: One of ``LEVELS``.
        form: ``json`` or ``text``.

    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _as_record(_logger: Any, _method: str, event: EventDict) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn a structlog event into the arguments of ``logging.Logger.info``; the last processor of each logger."""
    message = event.pop("event")
    about_the_call = {name: event.pop(name) for name in _ABOUT_THE_CALL if name in event}
    return (message,), {**about_the_call, "extra": {"fields": dict(event)}}


def _add_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put the keys of a line in their order: what the record says, the context's fields, and its own, which win."""
    record: logging.LogRecord = event["_record"]
    time = datetime.fromtimestamp(record.created, UTC)
    line: EventDict = {
        "time": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z",
        "level": record.levelname,
        "logger": record.name,
        "message": event.pop("event"),
    }
    return {**line, **event, **getattr(record, "fields", {})}


def _as_text(_logger: Any, _method: str, event: EventDict) -> str:
    """Render a line for people: ``time level message key=value …``, with the traceback below it."""
    time, level, _name, message = (event.pop(key) for key in ("time", "level", "logger", "message"))
    trace = event.pop("exception", None)
    fields = " ".join(f"{key}={value}" for key, value in event.items())
    line = " ".join(part for part in (time, f"{level:<7}", message, fields) if part)
    return line if trace is None else f"{line}\n{trace}"
