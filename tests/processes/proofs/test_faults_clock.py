"""The clock of one operator of ``make faults`` can be wrong, in its process alone."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import time
from datetime import UTC, datetime, timedelta
from carillon_core.adapters.postgres import history
from faults.processes.clock import step_clock

true, before = datetime, datetime.now(UTC)
step_clock({step})
from datetime import datetime as later

wrong = {{later.now(UTC), history.datetime.now(UTC), datetime.fromtimestamp(time.time(), UTC)}}
assert all(abs(now - before - timedelta(seconds={step})) < timedelta(seconds=30) for now in wrong), wrong
assert type(later.now(UTC)) is true
assert isinstance(before, later), "values of before are still datetimes"
assert abs(datetime.now(UTC) - before) < timedelta(seconds=30), "the harness's own name is not stepped"
"""


def test_a_clock_is_stepped_for_what_is_imported_before_and_after() -> None:
    """By an hour ahead or back; the values stay plain datetimes."""
    for step in (3600, -3600):
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(step=step)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
