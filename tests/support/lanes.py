"""How the files of tests are shared among pytest-xdist's workers; ``tests/conftest.py`` brings it to all of them.

A file is run by one worker, whole and in order: its tests share what it has made. The whole of Carillon takes seconds
to start, and a cluster without it takes seconds too, so half of the workers begin with the end-to-end tests and half
with what needs less: each starts one of the two, and the other only when it helps to finish what the others left. The
longest files come first, the unit tests, which need nothing and fill every gap, last.
"""

from collections.abc import Sequence

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WHOLE = ("tests/e2e/",)
"""Where the whole of Carillon runs."""
NOTHING = ("tests/unit/", "tests/processes/", "tests/chart/")
"""Where no cluster runs and no database."""
LONGEST = (
    "tests/e2e/test_schemathesis.py",
    "tests/e2e/test_survival.py",
    "tests/e2e/test_installed.py",
    "tests/e2e/test_faults_ended.py",
    "tests/e2e/test_faults.py",
    "tests/e2e/test_high_availability.py",
    "tests/e2e/test_refused_pods.py",
)
"""Those that would be waited for at the end if they did not come first."""


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist is published without types
    """Hands whole files out: to each worker one of those that it is best at."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by the number of tests, which says nothing about their length

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        number = int(node.gateway.id.removeprefix("gw"))
        chosen = min(self.workqueue, key=lambda file: _rank(file, whole_first=number % 2 == 0))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def _rank(file: str, *, whole_first: bool) -> tuple[int, int]:
    """Return where a file stands in a worker's order; the lowest comes first."""
    if file.startswith(NOTHING):
        kind = 1
    elif file.startswith(WHOLE):
        kind = 0 if whole_first else 2
    else:
        kind = 2 if whole_first else 0
    return kind, _place(file, LONGEST)


def _place(file: str, order: Sequence[str]) -> int:
    return order.index(file) if file in order else len(order)
