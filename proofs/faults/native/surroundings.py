"""What the plans of the CronJob controller share besides: the program."""

from dataclasses import dataclass
from pathlib import Path

from faults.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class NativeSurroundings(Surroundings):
    """The parts that all plans of a lane share."""

    program: Path
    """The local cluster's program, which contains the controller manager."""
