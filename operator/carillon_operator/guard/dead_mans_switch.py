"""Ends a process in which no Python code runs any more, because one call into C holds the interpreter.

No thread of Python can see that, and liveness would take longer. ``faulthandler`` has a thread of its own for it, which
needs no interpreter; it writes a traceback, which says where the process was, and ends the process.
"""

import faulthandler
import threading
import time
from pathlib import Path

from carillon_core.logs import get_logger

log = get_logger(__name__)

REWIND_SECONDS = 1.0


class DeadMansSwitch:
    """Fires when it is not rewound for a while."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Take the file for the traceback, and how long the process may be held.

        Raises:
            OSError: The file cannot be written.

        """
        self._path = path
        self._seconds = seconds
        path.touch()
        traceback = path.read_text(encoding="utf-8", errors="replace")
        self.fired = bool(traceback)
        """Whether it ended the process before this one."""
        if self.fired:
            log.error("the last process ended itself because it was held", traceback=traceback)
        path.write_bytes(b"")

    def start(self) -> None:
        """Start to rewind it in a thread, for as long as the process runs."""
        threading.Thread(target=self._run, name="dead-mans-switch", daemon=True).start()

    def _run(self) -> None:
        with self._path.open("wb") as file:
            while True:
                faulthandler.dump_traceback_later(self._seconds, exit=True, file=file)
                time.sleep(REWIND_SECONDS)
