"""The cluster, zygote, witness and HTTP target that all plans share, and a database and a recorder for each lane."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from carillon_devcluster import LocalCluster
from carillon_local.layout import CRDS
from faults.carillon.run import TaskRun
from faults.carillon.surroundings import OperatorSurroundings
from faults.injection.upstream import Upstream
from faults.processes.database import FIRST_PORT, Database, prepared
from faults.processes.operators import Operators
from faults.processes.recorder import Recorder
from faults.processes.threads import in_thread
from faults.verdict.witness import CountingTarget, Witness
from faults.world import Lane, World, cluster_in, lane_folder, temporary_folder

PORTS_APART = 7


@asynccontextmanager
async def running(lanes: int) -> AsyncIterator[World]:
    """Start everything in a temporary folder; stop it when the block ends."""
    async with temporary_folder() as folder, cluster_in(folder, {}) as cluster:
        await in_thread(_install, cluster)
        template = await in_thread(prepared, folder / "postgres")
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(Upstream.connected(cluster.kubeconfig))
            operators = await stack.enter_async_context(Operators().running())
            target = await stack.enter_async_context(CountingTarget().running())
            witness = await stack.enter_async_context(Witness(upstream).watching())
            made: list[Lane] = []
            for lane in range(lanes):
                own = lane_folder(folder, lane)
                port = FIRST_PORT + PORTS_APART * (lane + 1)
                database = await stack.enter_async_context(Database.running(template, own / "postgres", port))
                recorder = await stack.enter_async_context(Recorder.running(database.runner_url, own))
                around = OperatorSurroundings(upstream, witness, own, operators, target, database, recorder)
                made.append(partial(TaskRun, around))
            yield World(made)


def _install(cluster: LocalCluster) -> None:
    cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
    crds = [line for line in cluster.kubectl("get", "crd", "--output", "name").splitlines() if "carillon.dev" in line]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
