"""Each CronJob of the corpus and its task have the same Job, as a real API server stores both (``make cronjobs``).

One cluster has etcd, the API server and a controller manager with Kubernetes' own CronJob controller; there is no node.
All CronJobs are created with a schedule that is due within a minute, and their controller creates their Jobs. What
``carillon convert`` prints is applied with kubectl; from what the API server stored of it, the operator's own functions
make the Jobs, which the same API server stores too.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from carillon_cli.conversion.cronjobs import Converted, of_file
from carillon_cli.yaml_text import yaml_text
from carillon_core.adapters.kube import KubeConnection
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.resources.names import API_VERSION, KIND, PLURAL
from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT
from carillon_devcluster.parts import Place
from cronjobs.corpus import NAMESPACES, cronjobs
from cronjobs.jobs import SCHEDULED_AT, announced, differences
from support.cluster import install_crds

SETTINGS = {
    "CARILLON_DEVCLUSTER_CM_CONTROLLERS": "cronjob-controller,serviceaccount-controller",
    "CARILLON_DEVCLUSTER_CM_QPS": "500",
}
AT_ONCE = 16
GIVE_UP_SECONDS = 150
TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"k" * 32))
START = datetime(2026, 1, 1, tzinfo=UTC)
CRONJOBS = "/apis/batch/v1/namespaces/{}/cronjobs"
JOBS = "/apis/batch/v1/namespaces/{}/jobs"
TASKS = f"/apis/{API_VERSION}/{PLURAL}"

Objects = Mapping[str, dict[str, Any]]
"""Objects by ``namespace/name``."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Run the cluster."""
    root = tmp_path_factory.mktemp("cronjobs")
    place = Place(process_node=False)
    cluster = LocalCluster("cronjobs", root, build_root=DEFAULT_ROOT, settings=SETTINGS, place=place)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        cluster.delete()


@pytest.fixture
async def connection(local: LocalCluster) -> AsyncIterator[KubeConnection]:
    """Connect as the administrator, with the CRDs and the namespaces installed."""
    await install_crds(local.kubeconfig)
    async with KubeConnection(str(local.kubeconfig)) as made:
        for name in set(NAMESPACES) - {"default"}:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await made.request("POST", "/api/v1/namespaces", body=body)
        yield made


def due(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CronJob that is due every minute, without what a cluster had added to it."""
    kept = {
        key: raw["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in raw["metadata"]
    }
    own = {key: value for key, value in raw["spec"].items() if key not in {"timeZone", "suspend"}}
    return {**raw, "metadata": kept, "spec": {**own, "schedule": "* * * * *"}, "status": {}}


def name_of(raw: Mapping[str, Any]) -> str:
    """Return ``namespace/name``."""
    return f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"


async def create(connection: KubeConnection, path: str, objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Create objects, each in its namespace; return them as they are stored."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(raw: dict[str, Any]) -> dict[str, Any]:
        async with turns:
            where = path.format(raw["metadata"]["namespace"])
            return dict(await connection.request("POST", where, body=raw, params={"fieldValidation": "Strict"}))

    return await asyncio.gather(*map(one, objects))


async def jobs_of_cronjobs(connection: KubeConnection, wanted: set[str]) -> Objects:
    """Wait until the controller has created a Job of each CronJob; return them by the CronJobs' names."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while True:
            found = {}
            for raw in (await connection.request("GET", "/apis/batch/v1/jobs"))["items"]:
                owner = raw["metadata"]["ownerReferences"][0]
                if owner["kind"] == "CronJob":
                    found[f"{raw['metadata']['namespace']}/{owner['name']}"] = raw
            if found.keys() == wanted:
                return found
            await asyncio.sleep(1)


def job_of(task: dict[str, Any], slot: datetime) -> dict[str, Any]:
    """Return the Job that the operator would create for a slot of a stored task."""
    observed = ObservedTask.from_object(task)
    return job_manifest(
        slot_order(observed, Launch(slot, execution_id(observed.meta.uid, slot, Cause.SCHEDULE))), TEMPLATE
    )


async def converted(local: LocalCluster, folder: Path) -> Converted:
    """Convert the corpus, and apply the result as a user would."""
    file = folder / "cronjobs.yaml"
    file.write_text(yaml_text(list(cronjobs())), encoding="utf-8")
    made = of_file(str(file), None, START)
    assert made.complete, "\n".join(made.lines())
    await asyncio.to_thread(local.kubectl, "apply", "--server-side", "--filename=-", stdin=made.text)
    return made


async def test_a_task_has_the_same_jobs_as_its_cronjob(
    local: LocalCluster, connection: KubeConnection, tmp_path: Path
) -> None:
    """The fields that differ are exactly those of which the conversion says so."""
    began = time.monotonic()
    originals = [due(raw) for raw in cronjobs()]
    await create(connection, CRONJOBS, originals)
    made = await converted(local, tmp_path)
    tasks = {name_of(raw): raw for raw in (await connection.request("GET", TASKS))["items"]}
    theirs = await jobs_of_cronjobs(connection, {name_of(raw) for raw in originals})
    assert tasks.keys() == theirs.keys()
    assert {raw["kind"] for raw in tasks.values()} == {KIND}
    slots = {name: datetime.fromisoformat(job["metadata"]["annotations"][SCHEDULED_AT]) for name, job in theirs.items()}
    stored = await create(connection, JOBS, [job_of(task, slots[name]) for name, task in tasks.items()])
    ours = dict(zip(tasks, stored, strict=True))
    found = {name: differences(theirs[name], ours[name]) for name in tasks}
    expected = {each.document.name: announced(each) for each in made.conversions}
    print(f"\n{len(tasks)} CronJobs converted, {sum(not each for each in found.values())} with identical Jobs,")
    print(
        f"{sum(map(bool, found.values()))} with fields that differ as announced, in {time.monotonic() - began:.0f} s:"
    )
    for path, count in sorted(Counter(path for each in found.values() for path in each).items()):
        print(f"  {count:3} {path}")
    assert found == expected, json.dumps(
        {name: sorted(found[name] ^ expected[name]) for name in found if found[name] != expected[name]}, indent=1
    )
