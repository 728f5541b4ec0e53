"""The stored state of a cluster: its ports, its processes and the place of its kubeconfig."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from carillon_devcluster.files import write_atomically
from carillon_devcluster.processes import Process

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass(frozen=True)
class State:
    """The stored state of a cluster."""

    ports: dict[str, int] = dataclasses.field(default_factory=dict)
    processes: dict[str, Process] = dataclasses.field(default_factory=dict)
    kubeconfig: str = ""

    @classmethod
    def read(cls, path: Path) -> State:
        """Read the state; empty if it is missing or invalid."""
        try:
            content = json.loads(path.read_text())
            return cls(
                ports={str(name): int(port) for name, port in content["ports"].items()},
                processes={
                    str(name): Process(int(item["pid"]), str(item["start"]))
                    for name, item in content["processes"].items()
                },
                kubeconfig=str(content["kubeconfig"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self, path: Path) -> None:
        """Write the state."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")
