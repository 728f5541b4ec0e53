"""Distributes the test files among pytest-xdist's workers; ``tests/conftest.py`` loads it.

One worker runs a whole file in order, because its tests share fixtures. Starting all of Carillon takes seconds, and
so does a cluster without it. Therefore half of the workers begin with the end-to-end tests and half with the others,
and a worker starts the second environment only to help finish the rest. The longest files come first; the unit tests,
which need no environment, come last.
"""

from collections.abc import Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WHOLE = ("tests/e2e/",)
"""Folders of tests that need all of Carillon."""
NOTHING = ("tests/unit/", "tests/bounds/", "tests/processes/", "tests/project/", "tests/chart/")
"""Folders of tests without cluster and database."""
LONGEST = (
    "tests/e2e/test_schemathesis.py",
    "tests/e2e/test_survival.py",
    "tests/e2e/test_installed.py",
    "tests/e2e/test_faults_ended.py",
    "tests/e2e/test_faults.py",
    "tests/e2e/test_high_availability.py",
    "tests/e2e/test_refused_pods.py",
)
"""Long files, which come first so that no worker waits for them at the end."""


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is published without types
    """Assigns whole files, to each worker those that fit its environment best."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests, which does not reflect their duration

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        number = int(node.gateway.id.removeprefix("gw"))
        chosen = min(self.workqueue, key=lambda file: _rank(file, whole_first=number % 2 == 0))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def _rank(file: str, *, whole_first: bool) -> tuple[int, int]:
    """Return the rank of a file in a worker's order; the lowest comes first."""
    if file.startswith(NOTHING):
        kind = 1
    elif file.startswith(WHOLE):
        kind = 0 if whole_first else 2
    else:
        kind = 2 if whole_first else 0
    return kind, _place(file, LONGEST)


def _place(file: str, order: Sequence[str]) -> int:
    return order.index(file) if file in order else len(order)
