"""The run of one plan of CronJobs."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

from carillon_core.resources.scheduled_task import parse_meta, parse_spec
from faults.injection.timeline import Entry, now
from faults.native.controls import NativeControls
from faults.native.cronjobs import cronjob
from faults.native.surroundings import NativeSurroundings
from faults.plans.plan import Plan
from faults.plans.scenarios import ScenarioTask
from faults.run import PlanFailedError, PlanRun
from faults.verdict import cronjobs as oracle
from faults.verdict.seen import TaskSeen, Violation, World

_HEADER = re.compile(r"[IWEF](?P<at>\d{4} [\d:.]+) +\d+ [^]]+\] (?P<what>(?!FLAG:).*)")
"""A line of klog, but for the flags that a program starts with."""


class CronJobRun(PlanRun):
    """Runs one plan against a controller manager."""

    def __init__(self, around: NativeSurroundings, plan: Plan, namespace: str, *, keep_log: bool) -> None:
        """Take the plan; start nothing yet."""
        super().__init__(NativeControls(plan, around, namespace), around, namespace, keep_log=keep_log)

    async def _created(self) -> list[TaskSeen]:
        return [await self._create(task) for task in self._controls.scenario.tasks]

    async def _create(self, task: ScenarioTask) -> TaskSeen:
        """Create the CronJob of a task; its slots are those of a ScheduledTask with the same fields."""
        raw = await self._around.upstream.json("POST", self._path(), cronjob(task, str(self._pulses)))
        meta = parse_meta(raw["metadata"])
        if meta.creation_timestamp is None:
            raise PlanFailedError("the API server gave no creationTimestamp")
        spec = parse_spec(task.body("")["spec"], strict=True)
        return TaskSeen(meta.name, meta.uid, meta.creation_timestamp, spec)

    async def _suspend(self, task: TaskSeen) -> None:
        await self._around.upstream.json("PATCH", self._path(task.name), {"spec": {"suspend": True}})

    def _path(self, name: str = "") -> str:
        return f"/apis/batch/v1/namespaces/{self._namespace}/cronjobs{name and f'/{name}'}"

    async def _world(self, tasks: list[TaskSeen], until: datetime, *, suspended: bool) -> World:  # noqa: ARG002
        return World(
            tasks=tasks,
            until=until,
            jobs=self._around.witness.jobs(self._namespace),
            rows=(),
            hits={},
            outages=self._director.outages,
            blurs=self._director.blurs,
            killed_pods=frozenset(self._controls.cluster.killed_pods),
            disturbed=frozenset(self._controls.cluster.disturbed),
            pulses=await asyncio.to_thread(self._pulses_seen),
        )

    def _decided(self, world: World) -> bool:
        return oracle.decided(world)

    def _over(self, world: World) -> bool:
        return oracle.settled(world)

    def _violations(self, world: World) -> list[Violation]:
        return oracle.violations(world)

    def _logged(self, log: Path) -> list[Entry]:
        who = f"{log.parent.name}'s log"
        found = (_HEADER.match(line) for line in log.read_text(errors="replace").splitlines())
        return [Entry(_time(line["at"]), who, line["what"]) for line in found if line]


def _time(text: str) -> datetime:
    """Return a time of klog, which leaves out the year."""
    return datetime.strptime(f"{now().year}{text}", "%Y%m%d %H:%M:%S.%f").replace(tzinfo=UTC)
