"""The runner's log: ``time level message key=value …`` on standard error.

Only the standard library, because each start of a pod pays for every import.
The operator and the API use ``carillon_core.logs``, whose text lines look the
same.
"""

import logging
import sys
import time


class TextFormatter(logging.Formatter):
    """Formats a record as one line; a record's fields are in ``extra={"fields": {...}}``."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of text, with the traceback below it if there is one."""
        stamp = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z"
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        line = " ".join(part for part in (stamp, f"{record.levelname:<7}", record.getMessage(), fields) if part)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging() -> None:
    """Send the root logger's records, from INFO on, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
