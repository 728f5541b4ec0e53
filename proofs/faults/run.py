"""The run of one plan: create its tasks, let the faults strike, wait until every slot is settled, judge."""

import asyncio
import json
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.scheduled_task import parse_meta, parse_spec
from faults.controls import PlanControls
from faults.injection import calls
from faults.injection.proxy import WATCHED
from faults.injection.strangers import OTHER
from faults.injection.timeline import Entry, Timeline, now
from faults.plans.plan import Injection, Plan, Step
from faults.plans.scenarios import SCENARIOS
from faults.surroundings import Surroundings
from faults.verdict.oracle import TaskSeen, Violation, World, decided, settled, violations
from faults.verdict.pulses import Pulse, parsed
from faults.waiting import until

REACH = timedelta(seconds=7)
"""How long after the tasks' creation a fault may strike; a later one counts as not reached."""
AFTERWARDS = timedelta(seconds=3)
"""How long the schedule goes on after the last fault is over: at least one slot of every task."""
PATIENCE = timedelta(seconds=25)
"""How long after its time a slot may take to get its row."""
LOOK_SECONDS = 0.1


@dataclass(slots=True)
class Result:
    """The outcome of a plan."""

    plan: Plan
    steps: list[Step]
    fired: list[Injection]
    violations: list[Violation]
    slots: int = 0
    jobs: int = 0
    rows: int = 0
    hits: int = 0
    seconds: float = 0.0
    log: list[Entry] = field(default_factory=list)


class PlanFailedError(Exception):
    """The harness itself could not carry out a plan."""


class PlanRun:
    """Runs one plan in a namespace of its own."""

    def __init__(self, plan: Plan, around: Surroundings, namespace: str, *, keep_log: bool = False) -> None:
        """Take the plan; start nothing yet."""
        self._plan = plan
        self._around = around
        self._keep_log = keep_log
        self._namespace = namespace
        self._timeline = Timeline()
        self._controls = PlanControls(plan, around, namespace, self._timeline)
        self._director = self._controls.director
        self._pulses = self._controls.folder / "pulses"

    async def run(self) -> Result:
        """Carry out the plan and judge it; a failure of the harness itself is a violation."""
        try:
            return await self._run()
        except Exception as error:  # noqa: BLE001  # one plan's failure must not end the others
            told = [*self._timeline.entries, Entry(now(), "harness", "".join(traceback.format_exception(error)))]
            broken = Violation("harness", None, f"the plan could not be carried out: {error!r}")
            return Result(self._plan, self._director.steps, self._director.fired, [broken], log=told)

    async def _run(self) -> Result:
        began = now()
        self._controls.folder.mkdir()
        await self._around.upstream.json("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        async with self._controls.running():
            world = await self._play()
        result = self._judged(world)
        result.seconds = (now() - began).total_seconds()
        self._around.witness.forget(self._namespace)
        for row in world.rows:
            self._around.target.hits.pop(row.id, None)
        await asyncio.to_thread(shutil.rmtree, self._controls.folder)
        for namespace in (self._namespace, f"{self._namespace}{OTHER}"):
            await self._around.upstream.send("DELETE", f"/api/v1/namespaces/{namespace}")
        return result

    async def _play(self) -> World:
        """Create the tasks, let the faults strike, wait until every slot is settled."""
        wanted, target = SCENARIOS[self._plan.scenario].tasks, self._around.target.url
        tasks = [await self._create(task.body(target, str(self._pulses))) for task in wanted]
        reach = max(task.created_at for task in tasks) + REACH
        await until(lambda: self._director.all_fired or now() > reach)
        self._director.armed = False
        await until(lambda: self._controls.repaired)
        ends = [o.end for o in self._director.outages] + [b.end for b in self._director.blurs]
        least = max(task.created_at for task in tasks) + timedelta(seconds=4)
        end = max([now(), least, *(e for e in (*ends, self._director.linger_until) if e)]) + AFTERWARDS
        await until(lambda: now() > end)
        await self._seen_as(tasks, end, decided)
        for task in tasks:  # every slot that is due is decided; later ones would only take time
            await self._suspend(task)
        return await self._seen_as(tasks, end, _over, statuses=True)

    async def _seen_as(
        self, tasks: list[TaskSeen], until: datetime, condition: Callable[[World], bool], *, statuses: bool = False
    ) -> World:
        """Wait until the world meets a condition, or for ``PATIENCE``, and return it."""
        deadline = max(until, now()) + PATIENCE
        while True:
            world = await self._world(tasks, until)
            if statuses:
                world = await self._with_statuses(world)
            if condition(world) or now() > deadline:
                return world
            await asyncio.sleep(LOOK_SECONDS)

    async def _with_statuses(self, world: World) -> World:
        """Return the world with the statuses of the suspended tasks."""
        listed = await self._around.upstream.json("GET", calls.confined(WATCHED["tasks"], self._namespace))
        statuses = {item["metadata"]["name"]: item.get("status") or {} for item in listed["items"]}
        conditions = {name: status.get("conditions") or [] for name, status in statuses.items()}
        heeded = {
            n for n, cs in conditions.items() if any(c["type"] == "Suspended" and c["status"] == "True" for c in cs)
        }
        owed = {name: len(status.get("unrecorded") or ()) for name, status in statuses.items()}
        unheeded = frozenset({task.name for task in world.tasks} - heeded)  # strangers' tasks are not suspended
        return replace(world, unrecorded=owed, unheeded=unheeded)

    async def _suspend(self, task: TaskSeen) -> None:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURAL}/{task.name}"
        await self._around.upstream.json("PATCH", path, {"spec": {"suspend": True}})

    async def _world(self, tasks: list[TaskSeen], until: datetime) -> World:
        rows, counters = await self._around.database.look(self._namespace)
        jobs = self._around.witness.jobs(self._namespace)
        return World(
            tasks=tasks,
            until=until,
            jobs=jobs,
            rows=rows,
            hits=self._around.target.hits,
            counters=counters,
            outages=self._director.outages,
            blurs=self._director.blurs,
            ahead=self._plan.ahead,
            requests=self._controls.cluster.requests,
            killed_pods=frozenset(self._controls.cluster.killed_pods),
            disturbed=frozenset(self._controls.cluster.disturbed),
            pulses=await asyncio.to_thread(self._pulses_seen),
        )

    def _pulses_seen(self) -> list[Pulse]:
        return parsed(self._pulses.read_text()) if self._pulses.exists() else []

    def _judged(self, world: World) -> Result:
        found = violations(world) + self._controls.violations
        self._timeline.note("oracle", f"judged the slots until {world.until:%H:%M:%S}")
        for violation in found:
            self._timeline.note("VIOLATION", str(violation))
        uids = {row.id for row in world.rows}
        return Result(
            plan=self._plan,
            steps=self._director.steps,
            fired=self._director.fired + [i for i in self._plan.injections if i.at is None],
            violations=found,
            slots=sum(len(task.slots(world.until)) for task in world.tasks),
            jobs=len(world.jobs),
            rows=len(world.rows),
            hits=sum(len(world.hits.get(uid, ())) for uid in uids),
            log=self._told(world) if found or self._keep_log else [],
        )

    def _told(self, world: World) -> list[Entry]:
        """Return everything that is known about the run, in order, to explain a violation."""
        told = list(self._timeline.entries)
        for job in world.jobs:
            told.append(Entry(job.seen_at, "witness", f"sees Job {job.name} created"))
            if job.ended_at:
                told.append(Entry(job.ended_at, "witness", f"sees Job {job.name} end"))
        for row in world.rows:
            what = f"row of {row.task} slot {row.slot:%H:%M:%S}: {row.status} {row.reason or ''}"
            told.append(Entry(row.created_at, "database", what))
        for log in self._controls.folder.glob("*/operator.log"):
            told.extend(_logged(log))
        return sorted(told, key=lambda entry: entry.at)

    async def _create(self, body: dict[str, Any]) -> TaskSeen:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURAL}"
        raw = await self._around.upstream.json("POST", path, body)
        meta, spec = parse_meta(raw["metadata"]), parse_spec(raw["spec"], strict=True)
        if meta.creation_timestamp is None:
            raise PlanFailedError("the API server gave no creationTimestamp")
        return TaskSeen(meta.name, meta.uid, meta.creation_timestamp, spec)


def _over(world: World) -> bool:
    """Return whether every slot is settled, and the witness has seen the end of each Job."""
    return settled(world) and all(job.ended_at for job in world.jobs if job.slot <= world.until)


def _logged(log: Path) -> list[Entry]:
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
