"""The run of one plan: create its tasks, let the faults strike, wait until every slot is settled, judge.

``carillon.run`` and ``native.run`` know the tasks and the oracle.
"""

import asyncio
import shutil
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from faults.controls import PlanControls
from faults.injection.strangers import OTHER
from faults.injection.timeline import Entry, now
from faults.plans.plan import Injection, Plan, Step
from faults.processes.operators import LOG
from faults.surroundings import Surroundings
from faults.verdict.pulses import Pulse, parsed
from faults.verdict.seen import TaskSeen, Violation, World
from faults.waiting import until

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


class PlanRun(ABC):
    """Runs one plan in a namespace of its own."""

    def __init__(self, controls: PlanControls, around: Surroundings, namespace: str, *, keep_log: bool) -> None:
        """Take the plan's controls; start nothing yet."""
        self._controls = controls
        self._around = around
        self._namespace = namespace
        self._keep_log = keep_log
        self._suite = controls.suite
        self._timeline = controls.timeline
        self._director = controls.director
        self._pulses = controls.folder / "pulses" / "all"

    @property
    def _plan(self) -> Plan:
        return self._controls.plan

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
        self._controls.folder.chmod(0o711)  # whatever the umask is
        self._pulses.parent.mkdir()
        self._pulses.parent.chmod(0o777)  # containers are not root, even if the node is
        await self._around.upstream.json("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        async with self._controls.running():
            world = await self._play()
        result = self._judged(world)
        result.seconds = (now() - began).total_seconds()
        self._around.witness.forget(self._namespace)
        self._forget(world)
        await asyncio.to_thread(shutil.rmtree, self._controls.folder, ignore_errors=True)  # a container may still write
        for namespace in (self._namespace, f"{self._namespace}{OTHER}"):
            await self._around.upstream.send("DELETE", f"/api/v1/namespaces/{namespace}")
        return result

    async def _play(self) -> World:
        """Create the tasks, let the faults strike, wait until every slot is settled."""
        pace = self._suite.pace
        tasks = await self._created()
        reach = max(task.created_at for task in tasks) + pace.reach
        await until(lambda: self._director.all_fired or now() > reach)
        self._director.armed = False
        await until(lambda: self._director.all_struck and self._controls.repaired)
        ends = [o.end for o in self._director.outages] + [b.end for b in self._director.blurs]
        least = max(task.created_at for task in tasks) + pace.least
        end = max([now(), least, *(e for e in (*ends, self._director.linger_until) if e)]) + pace.afterwards
        await until(lambda: now() > end)
        await self._seen_as(tasks, end, self._decided)
        for task in tasks:  # every slot that is due is decided; later ones would only take time
            await self._suspend(task)
        return await self._seen_as(tasks, end, self._over, suspended=True)

    async def _seen_as(
        self, tasks: list[TaskSeen], until: datetime, condition: Callable[[World], bool], *, suspended: bool = False
    ) -> World:
        """Wait until the world meets a condition, or for the suite's patience, and return it."""
        deadline = max(until, now()) + self._suite.pace.patience
        while True:
            world = await self._world(tasks, until, suspended=suspended)
            if condition(world) or now() > deadline:
                return world
            await asyncio.sleep(LOOK_SECONDS)

    @abstractmethod
    async def _created(self) -> list[TaskSeen]:
        """Create the tasks of the scenario."""

    @abstractmethod
    async def _suspend(self, task: TaskSeen) -> None:
        """Suspend a task."""

    @abstractmethod
    async def _world(self, tasks: list[TaskSeen], until: datetime, *, suspended: bool) -> World:
        """Look at everything that the oracle judges; ``suspended`` tells whether the tasks have been suspended."""

    @abstractmethod
    def _decided(self, world: World) -> bool:
        """Return whether every slot that is due is decided."""

    @abstractmethod
    def _over(self, world: World) -> bool:
        """Return whether every slot is settled."""

    @abstractmethod
    def _violations(self, world: World) -> list[Violation]:
        """Return what the oracle says."""

    @abstractmethod
    def _logged(self, log: Path) -> list[Entry]:
        """Return a scheduler's log."""

    def _forget(self, world: World) -> None:  # noqa: B027  # a hook
        """Forget what was seen of the plan outside the cluster."""

    def _pulses_seen(self) -> list[Pulse]:
        return parsed(self._pulses.read_text()) if self._pulses.exists() else []

    def _judged(self, world: World) -> Result:
        found = self._violations(world) + self._controls.violations
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
        for log in self._controls.folder.glob(f"*/{LOG}"):
            told.extend(self._logged(log))
        return sorted(told, key=lambda entry: entry.at)
