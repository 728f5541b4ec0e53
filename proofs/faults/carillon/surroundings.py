"""What the plans of Carillon share besides: its database, its recorder, and the target of HTTP tasks."""

from dataclasses import dataclass

from faults.processes.database import Database
from faults.processes.operators import Operators
from faults.processes.recorder import Recorder
from faults.surroundings import Surroundings
from faults.verdict.witness import CountingTarget


@dataclass(frozen=True, slots=True)
class OperatorSurroundings(Surroundings):
    """The parts that all plans of a lane share."""

    operators: Operators
    target: CountingTarget
    database: Database
    recorder: Recorder
