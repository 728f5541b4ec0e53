"""A cluster whose own controller manager leaves CronJobs to those of the plans."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from faults.injection.dialect import CRONJOBS
from faults.injection.upstream import Upstream
from faults.native.run import CronJobRun
from faults.native.surroundings import NativeSurroundings
from faults.verdict.witness import Witness
from faults.world import World, cluster_in, lane_folder, temporary_folder

WITHOUT_CRONJOBS = {"CARILLON_DEVCLUSTER_CM_CONTROLLERS": "*,-cronjob-controller"}


@asynccontextmanager
async def running(lanes: int) -> AsyncIterator[World]:
    """Start everything in a temporary folder; stop it when the block ends."""
    async with (
        temporary_folder() as folder,
        cluster_in(folder, WITHOUT_CRONJOBS) as cluster,
        Upstream.connected(cluster.kubeconfig) as upstream,
        Witness(upstream, CRONJOBS).watching() as witness,
    ):
        made = [NativeSurroundings(upstream, witness, lane_folder(folder, n), cluster.binary) for n in range(lanes)]
        yield World([partial(CronJobRun, around) for around in made])
