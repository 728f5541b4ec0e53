"""What strangers do to pods and Jobs: kill, delete, evict."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson

from faults.injection.dialect import CARILLON, Dialect
from faults.injection.strangers import Strangers
from faults.injection.upstream import Upstream
from faults.plans.plan import Fault, Injection


@dataclass(slots=True)
class ClusterFaults:
    """Carries out a plan's faults on the pods and Jobs of its namespace."""

    upstream: Upstream
    namespace: str
    begin: Callable[[Coroutine[Any, Any, None]], None]
    """Starts what goes on while events are delivered."""
    dialect: Dialect = CARILLON
    requests: int = 0
    """How many requests were created."""
    killed_pods: set[str] = field(default_factory=set)
    """The Jobs whose pod was killed without grace."""
    disturbed: set[str] = field(default_factory=set)
    """The Jobs that were deleted, or whose pod was, with a grace period."""

    async def strike(self, injection: Injection, resource: str, name: str) -> None:
        """Do to a pod or a Job what the injection says; one that has gone meanwhile is left alone."""
        if injection.fault is Fault.REQUESTS:
            self.requests = int(injection.what)
            self.begin(Strangers(self.upstream, self.namespace).ask(self.requests))
            return
        if injection.fault is Fault.HOSTILE_OBJECTS:
            self.begin(Strangers(self.upstream, self.namespace, self.dialect).attack(injection.what, name))
            return
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        job = await self._job_of(path) if resource == "pods" else name
        if injection.fault is Fault.POD_KILLED:
            self.killed_pods.add(job)
            await self.upstream.send("DELETE", f"{path}?gracePeriodSeconds=0")
            return
        self.disturbed.add(job)
        if injection.fault is Fault.POD_DELETED:
            await self.upstream.send("DELETE", f"{path}?gracePeriodSeconds={injection.what}")
        elif injection.fault is Fault.POD_EVICTED:
            await self._send("POST", f"{path}/eviction", _eviction(name, int(injection.what)))
        else:
            path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{job}"
            await self._send("DELETE", f"{path}?propagationPolicy={injection.what}", None)

    async def _job_of(self, path: str) -> str:
        answer = await self.upstream.send("GET", path)
        meta = orjson.loads(answer.body).get("metadata") or {}
        owners = meta.get("ownerReferences") or [{"name": ""}]
        return str(owners[0]["name"])

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        data = b"" if body is None else orjson.dumps(body)
        await self.upstream.send(method, path, data, {"Content-Type": "application/json"})


def _eviction(pod: str, grace: int) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod},
        "deleteOptions": {"gracePeriodSeconds": grace},
    }
