"""The lanes in which plans run, and the cluster that they share.

``carillon.world`` and ``native.world`` equip the lanes.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT
from carillon_local.target import local_image_table
from faults.plans.plan import Plan
from faults.processes.threads import in_thread
from faults.run import PlanRun, Result

CONTROLLER_QPS = "500"
"""All plans share the controller manager, whose default limit is 20 requests a second."""


class Lane(Protocol):
    """Makes the runs of one lane."""

    def __call__(self, plan: Plan, namespace: str, *, keep_log: bool) -> PlanRun:
        """Return the run of a plan in a namespace of its own."""
        ...


class World:
    """The equipped lanes of one suite."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """Take the lanes, whose parts have been started."""
        self._lanes = lanes

    async def run(self, plans: Iterable[Plan], tell: Callable[[Result], None], *, keep_log: bool = False) -> None:
        """Run plans, each in the first free lane; results of failed plans, or with ``keep_log`` all, have a log."""
        waiting = iter(plans)

        async def work(lane: Lane) -> None:
            for plan in waiting:
                namespace = f"plan-{abs(plan.number)}-{uuid4().hex[:6]}"
                tell(await lane(plan, namespace, keep_log=keep_log).run())

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(work(lane))


@asynccontextmanager
async def cluster_in(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[LocalCluster]:
    """Run a cluster with our images until the block ends."""
    settings = {"CARILLON_DEVCLUSTER_CM_QPS": CONTROLLER_QPS, **settings}
    cluster = LocalCluster("faults", folder / "cluster", build_root=DEFAULT_ROOT, settings=settings)
    cluster.build()
    try:
        await in_thread(cluster.start)
        cluster.set_images(local_image_table())
        yield cluster
    finally:
        await in_thread(cluster.stop)


@asynccontextmanager
async def temporary_folder() -> AsyncIterator[Path]:
    """Make a folder that is deleted when the block ends."""
    with tempfile.TemporaryDirectory(prefix="carillon-faults-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o711)  # noqa: PTH101, S103  # does not block noticeably; the account of Postgres needs access
        yield Path(name)


def lane_folder(folder: Path, lane: int) -> Path:
    """Make the folder of a lane."""
    own = folder / f"lane-{lane}"
    own.mkdir()
    own.chmod(0o711)  # whatever the umask is
    return own
