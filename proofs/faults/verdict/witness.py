"""Observes every Job, pod and HTTP hit directly, without the proxies."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from faults.injection import calls
from faults.injection.dialect import CARILLON, Dialect
from faults.injection.timeline import now
from faults.injection.upstream import Upstream, UpstreamError
from faults.verdict.seen import JobSeen

_PATHS = {"jobs": "/apis/batch/v1/jobs", "pods": "/api/v1/pods"}


@dataclass(slots=True)
class Witness:
    """Watches the Jobs and pods of all namespaces; start it with ``watching``."""

    upstream: Upstream
    dialect: Dialect = CARILLON
    _jobs: dict[str, dict[str, JobSeen]] = field(default_factory=lambda: defaultdict(dict))
    """By namespace and uid."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["Witness"]:
        """Watch in the background; a failure ends the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(resource)) for resource in _PATHS]
            yield self
            for task in tasks:
                task.cancel()

    def jobs(self, namespace: str) -> list[JobSeen]:
        """Return every Job that was ever created in a namespace."""
        return list(self._jobs.get(namespace, {}).values())

    def forget(self, namespace: str) -> None:
        """Forget a namespace."""
        self._jobs.pop(namespace, None)

    async def _follow(self, resource: str) -> None:
        listed = await self.upstream.json("GET", f"{_PATHS[resource]}?{self.dialect.selector}")
        version = listed["metadata"]["resourceVersion"]
        while True:  # the server ends watches after a while; the next one continues without a gap
            watch = f"watch=true&resourceVersion={version}&allowWatchBookmarks=true"
            async with self.upstream.stream(f"{_PATHS[resource]}?{self.dialect.selector}&{watch}") as (_, lines):
                async for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise UpstreamError(f"the harness's own watch of {resource} failed: {event['object']}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(resource, event)

    def _take(self, resource: str, event: Mapping[str, Any]) -> None:
        meta = event["object"]["metadata"]
        about = calls.event_of(resource, event)
        ended = about is not None and about[0].endswith(("-ended", "-deleted"))
        if resource == "jobs":
            known = self._jobs[meta["namespace"]]
            if meta["uid"] not in known:
                launched = self.dialect.launched(meta)
                if launched is None:
                    return
                known[meta["uid"]] = JobSeen(meta["name"], meta["uid"], *launched, seen_at=now())
            job = known[meta["uid"]]
        else:
            owner = next((o for o in meta.get("ownerReferences") or () if o["kind"] == "Job"), None)
            known = self._jobs[meta["namespace"]]
            # the pod of a Job that was deleted without its pods has no owner any more
            found = known.get(owner["uid"]) if owner else None
            found = found or next((job for job in known.values() if meta["uid"] in job.pods), None)
            if found is None:
                return
            job = found
            job.pods.add(meta["uid"])
        if ended:
            job.last_end_at = now()
            job.ended_at = job.ended_at or job.last_end_at


@dataclass(slots=True)
class CountingTarget:
    """The target of HTTP tasks; counts hits by ``Idempotency-Key``. Start it with ``running``."""

    url: str = ""
    hits: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["CountingTarget"]:
        """Serve on a free port."""
        runner = web.ServerRunner(web.Server(self._hit), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hit"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _hit(self, request: web.BaseRequest) -> web.Response:
        self.hits[request.headers.get("Idempotency-Key", "")].append(now())
        return web.Response(text="ok")
