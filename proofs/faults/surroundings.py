"""The parts that all plans of a lane share; ``world`` makes them, ``controls`` uses them."""

from dataclasses import dataclass
from pathlib import Path

from faults.injection.upstream import Upstream
from faults.processes.database import Database
from faults.processes.operators import Operators
from faults.processes.recorder import Recorder
from faults.verdict.witness import CountingTarget, Witness


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The parts that all plans of a lane share."""

    upstream: Upstream
    operators: Operators
    witness: Witness
    target: CountingTarget
    database: Database
    recorder: Recorder
    folder: Path
