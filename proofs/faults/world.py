"""The cluster, zygote, witness and HTTP target that all plans share, and the lanes in which plans run."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT
from carillon_local.layout import CRDS
from carillon_local.target import local_image_table
from faults.injection.upstream import Upstream
from faults.plans.plan import Plan
from faults.processes.database import FIRST_PORT, Database, prepared
from faults.processes.operators import Operators
from faults.processes.recorder import Recorder
from faults.processes.threads import in_thread
from faults.run import PlanRun, Result
from faults.surroundings import Surroundings
from faults.verdict.witness import CountingTarget, Witness

CONTROLLER_QPS = "500"
"""All plans share the controller manager, whose default limit is 20 requests a second."""
PORTS_APART = 7


class World:
    """One cluster and its lanes; start it with ``running``."""

    def __init__(self, cluster: LocalCluster, lanes: list[Surroundings]) -> None:
        """Take the started parts; use ``running``."""
        self._cluster = cluster
        self._lanes = lanes

    @classmethod
    @asynccontextmanager
    async def running(cls, lanes: int) -> AsyncIterator["World"]:
        """Start everything in a temporary folder; stop it when the block ends."""
        with tempfile.TemporaryDirectory(prefix="carillon-faults-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            os.chmod(name, 0o711)  # noqa: PTH101, S103  # does not block noticeably; the account of Postgres needs access
            settings = {"CARILLON_DEVCLUSTER_CM_QPS": CONTROLLER_QPS}
            cluster = LocalCluster("faults", folder / "cluster", build_root=DEFAULT_ROOT, settings=settings)
            cluster.build()
            try:
                await in_thread(cluster.start)
                await in_thread(_install, cluster)
                async with cls._equipped(cluster, folder, lanes) as world:
                    yield world
            finally:
                await in_thread(cluster.stop)

    @classmethod
    @asynccontextmanager
    async def _equipped(cls, cluster: LocalCluster, folder: Path, lanes: int) -> AsyncIterator["World"]:
        template = await in_thread(prepared, folder / "postgres")
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(Upstream.connected(cluster.kubeconfig))
            operators = await stack.enter_async_context(Operators().running())
            target = await stack.enter_async_context(CountingTarget().running())
            witness = await stack.enter_async_context(Witness(upstream).watching())
            made = []
            for lane in range(lanes):
                own = folder / f"lane-{lane}"
                own.mkdir(mode=0o711)
                port = FIRST_PORT + PORTS_APART * (lane + 1)
                database = await stack.enter_async_context(Database.running(template, own / "postgres", port))
                recorder = await stack.enter_async_context(Recorder.running(database.runner_url, own))
                made.append(Surroundings(upstream, operators, witness, target, database, recorder, own))
            yield cls(cluster, made)

    async def run(self, plans: Iterable[Plan], tell: Callable[[Result], None], *, keep_log: bool = False) -> None:
        """Run plans, each in the first free lane; results of failed plans, or with ``keep_log`` all, have a log."""
        waiting = iter(plans)

        async def work(lane: Surroundings) -> None:
            for plan in waiting:
                run = PlanRun(plan, lane, f"plan-{abs(plan.number)}-{uuid4().hex[:6]}", keep_log=keep_log)
                tell(await run.run())

        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(work(lane))


def _install(cluster: LocalCluster) -> None:
    cluster.set_images(local_image_table())
    cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
    crds = [line for line in cluster.kubectl("get", "crd", "--output", "name").splitlines() if "carillon.dev" in line]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
