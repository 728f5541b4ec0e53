"""The run of one plan of ScheduledTasks: their bodies, rows, counters and statuses."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.scheduled_task import parse_meta, parse_spec
from faults.carillon.controls import OperatorControls
from faults.carillon.surroundings import OperatorSurroundings
from faults.injection import calls
from faults.injection.timeline import Entry
from faults.plans.plan import Plan
from faults.plans.suite import TASKS
from faults.run import PlanFailedError, PlanRun
from faults.verdict import oracle
from faults.verdict.seen import TaskSeen, Violation, World


class TaskRun(PlanRun):
    """Runs one plan against an operator."""

    def __init__(self, around: OperatorSurroundings, plan: Plan, namespace: str, *, keep_log: bool) -> None:
        """Take the plan; start nothing yet."""
        super().__init__(OperatorControls(plan, around, namespace), around, namespace, keep_log=keep_log)
        self._own = around

    async def _created(self) -> list[TaskSeen]:
        target = self._own.target.url
        return [await self._create(task.body(target, str(self._pulses))) for task in self._controls.scenario.tasks]

    async def _create(self, body: dict[str, Any]) -> TaskSeen:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURAL}"
        raw = await self._around.upstream.json("POST", path, body)
        meta, spec = parse_meta(raw["metadata"]), parse_spec(raw["spec"], strict=True)
        if meta.creation_timestamp is None:
            raise PlanFailedError("the API server gave no creationTimestamp")
        return TaskSeen(meta.name, meta.uid, meta.creation_timestamp, spec)

    async def _suspend(self, task: TaskSeen) -> None:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURAL}/{task.name}"
        await self._around.upstream.json("PATCH", path, {"spec": {"suspend": True}})

    async def _world(self, tasks: list[TaskSeen], until: datetime, *, suspended: bool) -> World:
        rows, counters = await self._own.database.look(self._namespace)
        jobs = self._around.witness.jobs(self._namespace)
        world = World(
            tasks=tasks,
            until=until,
            jobs=jobs,
            rows=rows,
            hits=self._own.target.hits,
            counters=counters,
            outages=self._director.outages,
            blurs=self._director.blurs,
            ahead=self._plan.ahead,
            requests=self._controls.cluster.requests,
            killed_pods=frozenset(self._controls.cluster.killed_pods),
            disturbed=frozenset(self._controls.cluster.disturbed),
            pulses=await asyncio.to_thread(self._pulses_seen),
        )
        return await self._with_statuses(world) if suspended else world

    async def _with_statuses(self, world: World) -> World:
        """Return the world with the statuses of the suspended tasks."""
        listed = await self._around.upstream.json(
            "GET", calls.confined(TASKS.dialect.watched["tasks"], self._namespace)
        )
        statuses = {item["metadata"]["name"]: item.get("status") or {} for item in listed["items"]}
        conditions = {name: status.get("conditions") or [] for name, status in statuses.items()}
        heeded = {
            n for n, cs in conditions.items() if any(c["type"] == "Suspended" and c["status"] == "True" for c in cs)
        }
        owed = {name: len(status.get("unrecorded") or ()) for name, status in statuses.items()}
        unheeded = frozenset({task.name for task in world.tasks} - heeded)  # strangers' tasks are not suspended
        return replace(world, unrecorded=owed, unheeded=unheeded)

    def _decided(self, world: World) -> bool:
        return oracle.decided(world)

    def _over(self, world: World) -> bool:
        """Return whether every slot is settled, and the witness has seen the end of each Job."""
        return oracle.settled(world) and all(job.ended_at for job in world.jobs if job.slot <= world.until)

    def _violations(self, world: World) -> list[Violation]:
        return oracle.violations(world)

    def _forget(self, world: World) -> None:
        for row in world.rows:
            self._own.target.hits.pop(row.id, None)

    def _logged(self, log: Path) -> list[Entry]:
        return _entries(log)


def _entries(log: Path) -> list[Entry]:
    """Return an operator's log as entries; lines that are not JSON (a traceback) belong to the line before."""
    told: list[Entry] = []
    who = f"{log.parent.name}'s log"
    for line in log.read_text(errors="replace").splitlines():
        try:
            said = json.loads(line)
            at = datetime.fromisoformat(said.pop("time"))
        except ValueError:
            if told:
                told[-1] = Entry(told[-1].at, who, f"{told[-1].what}\n    {line}")
            continue
        fields = " ".join(f"{k}={v}" for k, v in said.items() if k not in {"logger", "level", "message"})
        told.append(Entry(at, who, f"{said['level']} {said['message']} {fields}"))
    return told
