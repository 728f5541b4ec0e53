"""The parts that all plans of a lane share; a world makes them, controls and runs use them."""

from dataclasses import dataclass
from pathlib import Path

from faults.injection.upstream import Upstream
from faults.verdict.witness import Witness


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The cluster, its witness, and a folder for the lane."""

    upstream: Upstream
    witness: Witness
    folder: Path
