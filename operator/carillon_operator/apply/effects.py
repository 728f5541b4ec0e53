"""The parts that carry out a plan, as one value. ``Term`` creates it; the turns use it."""

from dataclasses import dataclass

from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.closer import Closer
from carillon_operator.apply.janitor import Janitor
from carillon_operator.apply.job_ender import JobEnder
from carillon_operator.apply.launcher import Launcher
from carillon_operator.apply.outbox import Outbox
from carillon_operator.apply.status_writer import StatusWriter
from carillon_operator.revisions.chronicler import Chronicler


@dataclass(frozen=True, slots=True)
class Effects:
    """The parts that carry out a plan."""

    chronicler: Chronicler
    launcher: Launcher
    outbox: Outbox
    statuses: StatusWriter
    announcer: Announcer
    closer: Closer
    ender: JobEnder
    janitor: Janitor
