"""Objects of other people: forged Jobs and pods, hostile tasks, and requests by the thousand."""

import asyncio
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from carillon_core.resources import names
from carillon_local.layout import SHELL_IMAGE
from faults.injection.dialect import CARILLON, Dialect
from faults.injection.upstream import Upstream
from faults.verdict.oracle import ASKED

OTHER = "-other"
"""What the name of the other tenant's namespace ends with."""
FORGED_SLOTS = 6
IN_FLIGHT = 16
_TASKS = f"/apis/{names.API_VERSION}/namespaces/{{}}/{names.PLURAL}"
_REQUESTS = f"/apis/{names.API_VERSION}/namespaces/{{}}/{names.PLURAL_REQUESTS}"
_JOBS = "/apis/batch/v1/namespaces/{}/jobs"
_PODS = "/api/v1/namespaces/{}/pods"


@dataclass(slots=True)
class Strangers:
    """Creates hostile objects; what the API server or the CRD refuses does no harm."""

    upstream: Upstream
    namespace: str
    dialect: Dialect = CARILLON

    @property
    def other(self) -> str:
        """The other tenant's namespace."""
        return f"{self.namespace}{OTHER}"

    async def attack(self, how: str, job: str) -> None:
        """Create the objects of one kind of attack, which may imitate a Job of the plan.

        Args:
            how: ``jobs``, ``pods`` or ``tasks``.
            job: The name of the Job.

        """
        await self.upstream.send("POST", "/api/v1/namespaces", orjson.dumps({"metadata": {"name": self.other}}), _JSON)
        if how == "tasks":
            await self._create([(_TASKS.format(self.other), body) for body in hostile_tasks(firing=True)])
            await self._create([(_TASKS.format(self.namespace), body) for body in hostile_tasks(firing=False)])
            return
        real = await self.upstream.json("GET", f"{_JOBS.format(self.namespace)}/{job}")
        forged = forged_jobs(real, self.dialect) if how == "jobs" else forged_pods(real)
        path = (_JOBS if how == "jobs" else _PODS).format(self.other)
        await self._create([(path, body) for body in forged])

    async def ask(self, count: int) -> None:
        """Create a task without slots, and requests for it, as fast as the API server takes them."""
        await self.upstream.json("POST", _TASKS.format(self.namespace), asked_task())
        await self._create([(_REQUESTS.format(self.namespace), request(number)) for number in range(count)])

    async def _create(self, bodies: list[tuple[str, dict[str, Any]]]) -> None:
        waiting = iter(bodies)

        async def work() -> None:
            for path, body in waiting:
                await self.upstream.send("POST", path, orjson.dumps(body), _JSON)

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())


_JSON = {"Content-Type": "application/json"}


def forged_jobs(real: dict[str, Any], dialect: Dialect = CARILLON) -> Iterator[dict[str, Any]]:
    """Yield Jobs that pass for the next executions of a Job's task, by name, labels and owner, and fail at once."""
    meta = real["metadata"]
    slot = datetime.fromisoformat(meta["annotations"][dialect.slot_annotation])
    for ahead in range(FORGED_SLOTS):
        forged = slot + ahead * dialect.step
        yield {
            "metadata": {
                "name": dialect.job_name(meta["labels"][names.LABEL_TASK], forged),
                "labels": meta["labels"],
                "annotations": meta["annotations"] | {dialect.slot_annotation: forged.isoformat()},
                "ownerReferences": meta["ownerReferences"],
            },
            "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": _plain(real)}, "spec": _failing()}},
        }


def forged_pods(real: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield failing pods that claim to belong to a Job of another namespace."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": real["metadata"]["name"], "uid": real["metadata"]["uid"]}
    for number in range(FORGED_SLOTS):
        yield {
            "metadata": {
                "name": f"{real['metadata']['name']}-{number}",
                "labels": real["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [owner | {"controller": True}],
            },
            "spec": _failing(),
        }


def _plain(real: dict[str, Any]) -> dict[str, str]:
    """Return the labels of a Job's pods without those that the API server sets."""
    labels = deepcopy(real["spec"]["template"]["metadata"]["labels"])
    return {name: value for name, value in labels.items() if not name.endswith(("controller-uid", "job-name"))}


def _failing() -> dict[str, Any]:
    container = {"name": "runner", "image": SHELL_IMAGE, "command": ["sh", "-c", "exit 3"]}
    return {"restartPolicy": "Never", "containers": [container]}


def hostile_tasks(*, firing: bool) -> Iterator[dict[str, Any]]:
    """Yield tasks that are dear to compute, to store or to run; only some fire."""
    quiet: dict[str, dict[str, Any]] = {
        "late": {"intervalSeconds": 1, "startAt": "9999-12-31T23:59:59Z"},
        "never": {"schedule": "0 0 30 2 *"},
        "rare": {"schedule": "0 0 29 2 1#5"},
        "last": {"runAt": "9999-12-31T23:59:59Z"},
        "old": {"intervalSeconds": 1, "startAt": "0001-01-01T00:00:00Z", "suspend": True},
        "huge": {"schedule": "0 0 1 1 *", "task": {"http": {"url": "http://127.0.0.1/", "body": "x" * 300_000}}},
    }
    loud: dict[str, dict[str, Any]] = {
        "old-and-all": {"intervalSeconds": 1, "startAt": "2000-01-01T00:00:00Z", "missedRunPolicy": "All"},
        "often": {"intervalSeconds": 1, "concurrencyPolicy": "Replace"},
    }
    many = {f"never-{number}": quiet["never"] for number in range(50)}
    for name, spec in (quiet | many | (loud if firing else {})).items():
        whole = {"task": {"sum": {"a": 1, "b": 2}}} | spec
        yield {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": f"hostile-{name}"},
            "spec": whole,
        }


def asked_task() -> dict[str, Any]:
    """Return the task that requests ask for."""
    spec = {"schedule": "0 0 29 2 *", "task": {"sum": {"a": 1, "b": 2}}}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": ASKED}, "spec": spec}


def request(number: int) -> dict[str, Any]:
    """Return a request for it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "RunRequest",
        "metadata": {"name": f"{ASKED}-{number}"},
        "spec": {"taskRef": {"name": ASKED}},
    }
