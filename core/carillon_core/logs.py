"""Logging for every process: one line an event, as text or as JSON, on standard error.

Called once by each ``__main__``. Values go in ``extra={"fields": {...}}``, so
that the message stays a fixed phrase to search for. What a whole piece of
work has in common, such as a request's id, is said once, by ``log_context``:
it is then in every line of that work, those of libraries too.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


_CONTEXT: ContextVar[Mapping[str, Any]] = ContextVar("carillon_log_context")


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Put fields into every line that this task, and whatever it starts meanwhile, logs until the block ends."""
    token = _CONTEXT.set({**_CONTEXT.get({}), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record's line: the context's, and its own, which win."""
    return {**_CONTEXT.get({}), **getattr(record, "fields", {})}


class JSONFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the fields."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(fields_of(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """``time level message key=value …`` for people."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of text, and the traceback below it if there is one."""
        stamp = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        fields = " ".join(f"{k}={v}" for k, v in fields_of(record).items())
        line = " ".join(p for p in (stamp, f"{record.levelname:<7}", record.getMessage(), fields) if p)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(level: str, form: str) -> None:
    """Send the root logger's records to standard error.

    Args:
        level: One of ``LEVELS``.
        form: ``json`` or ``text``.

    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
