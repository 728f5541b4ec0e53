"""How long faults and plans last, measured against the interval of the tasks. Pure."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Pace:
    """The durations of one suite."""

    hold: float
    """Seconds by which a late event or answer is delayed: more than the interval of the fastest task."""
    behind: float
    """Seconds for which the scheduler's view stays stale after a stale restart."""
    retries: timedelta
    """How long the scheduler may wait to retry once the API server is back."""
    linger: timedelta
    """How long the consequences of a failed watch of the tasks may show."""
    snapshots: int
    """From how many launches before a stale restart its lists may be."""
    reach: timedelta
    """How long after the tasks' creation a fault may strike; a later one counts as not reached."""
    least: timedelta
    """How long a plan lasts at least, the time ``afterwards`` aside."""
    afterwards: timedelta
    """How long the schedule goes on after the last fault is over: at least one slot of every task."""
    patience: timedelta
    """How long after its time a slot may take to be settled."""


SECONDS = Pace(
    hold=2.6,
    behind=2.5,
    retries=timedelta(seconds=3.5),
    linger=timedelta(seconds=5),  # kopf, which watches the tasks, takes that long to exit after a failure
    snapshots=3,
    reach=timedelta(seconds=7),
    least=timedelta(seconds=4),
    afterwards=timedelta(seconds=3),
    patience=timedelta(seconds=25),
)
"""For tasks that are due every two or three seconds."""
MINUTES = Pace(
    hold=62,
    behind=62,
    retries=timedelta(seconds=35),  # the watches of client-go wait up to half a minute after an outage
    linger=timedelta(0),
    snapshots=5,
    reach=timedelta(seconds=155),
    least=timedelta(seconds=125),
    afterwards=timedelta(seconds=62),
    patience=timedelta(seconds=60),  # the next slot takes its place only then
)
"""For CronJobs, which are due every minute at most."""
