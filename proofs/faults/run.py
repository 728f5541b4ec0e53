"""The run of one plan: a namespace, an operator behind its proxy, the tasks, the faults, and the verdict."""

import asyncio
import json
import shutil
import signal
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.scheduled_task import parse_meta, parse_spec
from carillon_local.layout import RUNNER_IMAGE
from faults import calls
from faults.database import Database
from faults.director import Blur, Director, Outage
from faults.faults import Fault, Injection, Plan, Step
from faults.operators import KUBECONFIG, Operator, Operators
from faults.oracle import SECOND, TaskSeen, Violation, World, decided, settled, violations
from faults.proxy import WATCHED, Lists, Proxy
from faults.scenarios import SCENARIOS
from faults.timeline import Entry, Timeline, now
from faults.upstream import Upstream
from faults.witness import CountingTarget, Witness

REACH = timedelta(seconds=7)
"""How long after the tasks' creation a fault may strike; one that has not is counted as not reached."""
AFTERWARDS = timedelta(seconds=3)
"""How long the schedule goes on after the last fault is over: a slot of every task at least."""
PATIENCE = timedelta(seconds=25)
"""How long after its time a slot may take to get its row."""
START_SECONDS = 60
LOOK_SECONDS = 0.1
_SNAPSHOTS = 3


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all plans of a lane share."""

    upstream: Upstream
    operators: Operators
    witness: Witness
    target: CountingTarget
    database: Database
    folder: Path


@dataclass(slots=True)
class Result:
    """What came of a plan."""

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
    """The harness itself could not carry a plan out."""


class PlanRun:
    """One run; it is also what the faults act on (``director.Controls``)."""

    def __init__(self, plan: Plan, around: Surroundings, namespace: str, *, keep_log: bool = False) -> None:
        """Take the plan; touch nothing yet."""
        self._plan = plan
        self._around = around
        self._keep_log = keep_log
        self._namespace = namespace
        self._folder = around.folder / namespace
        self._timeline = Timeline()
        self._director = Director(plan.injections, self._timeline)
        self._operator: Operator | None = None
        self._expected_to_end = False
        self._mending: set[asyncio.Task[None]] = set()
        self._snapshots: deque[Lists] = deque(maxlen=_SNAPSHOTS)
        self._killed_pods: set[str] = set()
        self._own: list[Violation] = []
        self._proxy = Proxy(around.upstream, namespace, self._director, self)

    async def run(self) -> Result:
        """Carry the plan out and judge it; where the harness itself fails, that is the plan's failure."""
        try:
            return await self._run()
        except Exception as error:  # noqa: BLE001  # one plan's failure must not end the others
            told = [*self._timeline.entries, Entry(now(), "harness", "".join(traceback.format_exception(error)))]
            broken = Violation("harness", None, f"the plan could not be carried out: {error!r}")
            return Result(self._plan, self._director.steps, self._director.fired, [broken], log=told)

    async def _run(self) -> Result:
        began = now()
        self._folder.mkdir()
        await self._around.upstream.json("POST", "/api/v1/namespaces", {"metadata": {"name": self._namespace}})
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._proxy.running())
                stack.push_async_callback(self._end_operator)
                await self._start("operator", self._proxy, self._take_operator)
                for injection in self._plan.injections:
                    if injection.fault is Fault.SECOND_OPERATOR:
                        await self._start_second(stack, injection)
                world = await self._play()
            finally:
                for task in self._mending:
                    task.cancel()
                if self._mending:
                    await asyncio.wait(self._mending)
        result = self._judged(world)
        result.seconds = (now() - began).total_seconds()
        self._around.witness.forget(self._namespace)
        for row in world.rows:
            self._around.target.hits.pop(row.id, None)
        await asyncio.to_thread(shutil.rmtree, self._folder)
        await self._around.upstream.json("DELETE", f"/api/v1/namespaces/{self._namespace}")
        return result

    async def _play(self) -> World:
        """Create the tasks, let the faults strike, wait until every slot is settled."""
        tasks = [await self._create(task.body(self._around.target.url)) for task in SCENARIOS[self._plan.scenario]]
        reach = max(task.created_at for task in tasks) + REACH
        await self._until(lambda: self._director.all_fired or now() > reach)
        self._director.armed = False
        await self._until(lambda: not self._mending)
        ends = [o.end for o in self._director.outages] + [b.end for b in self._director.blurs]
        least = max(task.created_at for task in tasks) + timedelta(seconds=4)
        until = max([now(), least, *(end for end in (*ends, self._director.linger_until) if end)]) + AFTERWARDS
        await self._until(lambda: now() > until)
        await self._seen_as(tasks, until, decided)
        for task in tasks:  # what is due is decided: what comes later would only take time
            await self._suspend(task)
        return await self._seen_as(tasks, until, _over, statuses=True)

    async def _seen_as(
        self, tasks: list[TaskSeen], until: datetime, condition: Callable[[World], bool], *, statuses: bool = False
    ) -> World:
        """Wait until the world is so, but not for ever, and return it."""
        deadline = max(until, now()) + PATIENCE
        while True:
            world = await self._world(tasks, until)
            if statuses:
                world = await self._with_statuses(world)
            if condition(world) or now() > deadline:
                return world
            await self.hold(LOOK_SECONDS)

    async def _with_statuses(self, world: World) -> World:
        """Return the world with what the tasks' statuses say once they are suspended."""
        listed = await self._around.upstream.json("GET", calls.confined(WATCHED["tasks"], self._namespace))
        statuses = {item["metadata"]["name"]: item.get("status") or {} for item in listed["items"]}
        conditions = {name: status.get("conditions") or [] for name, status in statuses.items()}
        heeded = {
            n for n, cs in conditions.items() if any(c["type"] == "Suspended" and c["status"] == "True" for c in cs)
        }
        owed = {name: len(status.get("unrecorded") or ()) for name, status in statuses.items()}
        return replace(world, unrecorded=owed, unheeded=frozenset(set(statuses) - heeded))

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
            killed_pods=frozenset(self._killed_pods),
        )

    def _judged(self, world: World) -> Result:
        found = violations(world) + self._own
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
        """Return everything known of the run, in order: for people who read about a violation."""
        told = list(self._timeline.entries)
        for job in world.jobs:
            told.append(Entry(job.seen_at, "witness", f"sees Job {job.name} come"))
            if job.ended_at:
                told.append(Entry(job.ended_at, "witness", f"sees Job {job.name} end"))
        for row in world.rows:
            what = f"row of {row.task} slot {row.slot:%H:%M:%S}: {row.status} {row.reason or ''}"
            told.append(Entry(row.created_at, "database", what))
        for log in self._folder.glob("*/operator.log"):
            told.extend(_logged(log))
        return sorted(told, key=lambda entry: entry.at)

    async def _create(self, body: dict[str, Any]) -> TaskSeen:
        path = f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.PLURAL}"
        raw = await self._around.upstream.json("POST", path, body)
        meta, spec = parse_meta(raw["metadata"]), parse_spec(raw["spec"], strict=True)
        if meta.creation_timestamp is None:
            raise PlanFailedError("the API server gave no creationTimestamp")
        return TaskSeen(meta.name, meta.uid, meta.creation_timestamp, spec)

    def _take_operator(self, operator: Operator) -> None:
        self._operator = operator

    async def _start(self, name: str, proxy: Proxy, take: Callable[[Operator], None]) -> None:
        """Start an operator, and wait until it decides; it is taken at once, as a fault may strike before that."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / KUBECONFIG).write_text(_kubeconfig(proxy.url))
        proxy.watching.clear()
        environment = {
            "DATABASE_URL": self._around.database.url,
            "CARILLON_RUNNER_DATABASE_URL": self._around.database.runner_url,
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_HTTP_ALLOW": "127.0.0.0/8,::1",  # the counting target is there
            "CARILLON_LOG_LEVEL": "INFO",
        }
        operator = await self._around.operators.start(folder, environment)
        self._timeline.note("harness", f"starts {name}, process {operator.pid}")
        operator.ended.add_done_callback(lambda code: self._ended(name, code))
        take(operator)
        async with asyncio.timeout(START_SECONDS):
            await self._until(lambda: operator.ended.done() or (operator.ready and proxy.watching >= set(WATCHED)))
        self._timeline.note("harness", f"{name} is ready")

    async def _start_second(self, stack: AsyncExitStack, injection: Injection) -> None:
        """Start another operator at once, whatever says that there should be one: its way has no faults but lag."""
        lag = timedelta(milliseconds=int(injection.what or 0))
        director = Director((), self._timeline, "second")
        if lag:  # it may take an execution for active that has ended
            self._director.blurs.append(Blur(now(), None, why=f"{SECOND} sees all {lag} late"))
        proxy = Proxy(self._around.upstream, self._namespace, director, self, lag)
        await stack.enter_async_context(proxy.running())
        started: list[Operator] = []

        async def end() -> None:
            self._expected_to_end = True
            for second in started:
                await second.kill()

        stack.push_async_callback(end)
        await self._start("second", proxy, started.append)
        self._timeline.note("FAULT", str(injection))

    def _ended(self, name: str, code: asyncio.Future[int]) -> None:
        if code.cancelled():
            return
        self._timeline.note("harness", f"{name} has ended with {code.result()}")
        if not self._expected_to_end:
            self._own.append(Violation(name, None, f"the operator ended by itself, with {code.result()}"))

    async def _end_operator(self) -> None:
        self._expected_to_end = True
        if self._operator is not None:
            await self._operator.kill()

    # What follows is what faults do.

    def kill(self, injection: Injection) -> None:
        """End the operator at once; it is started again later, as the injection says."""
        self._signal(injection, signal.SIGKILL)

    def terminate(self, injection: Injection) -> None:
        """Tell the operator to stop; it is started again later."""
        self._signal(injection, signal.SIGTERM)

    def _signal(self, injection: Injection, number: signal.Signals) -> None:
        if self._operator is None or self._expected_to_end:
            return  # the other fault of the plan has ended it already
        self._expected_to_end = True
        operator, outage = self._operator, self._director.outage("", f"{injection}")
        operator.send(number)
        self._mend(self._replace(operator, injection, outage))

    async def _replace(self, operator: Operator, injection: Injection, outage: Outage) -> None:
        """Start another operator once the killed one is gone and slots have passed."""
        code = await asyncio.shield(operator.ended)
        if injection.fault is Fault.TERMINATE and code != 0:
            self._own.append(Violation("operator", None, f"it ended with {code} when it was told to stop"))
        await self.hold(injection.down)
        if injection.fault is Fault.STALE_RESTART and self._snapshots:
            old = self._snapshots[0]
            wanted = set(old) if injection.what == "all" else {injection.what}
            self._proxy.fall_behind({resource: body for resource, body in old.items() if resource in wanted})
        blur = self._director.blur("", "a stale restart") if injection.fault is Fault.STALE_RESTART else None
        self._expected_to_end = False
        await self._start("operator", self._proxy, self._take_operator)
        if blur is not None:
            await self._until(lambda: self._proxy.caught_up)
            blur.end = now()
        outage.end = now()

    async def stop_postgres(self, injection: Injection) -> None:
        """Return once the database is stopped; it is started again later."""
        stopped = asyncio.Event()
        self._mend(self._outage_of_postgres(injection, stopped))
        await stopped.wait()

    async def _outage_of_postgres(self, injection: Injection, stopped: asyncio.Event) -> None:
        self._timeline.note("harness", "stops Postgres")
        try:
            await self._around.database.stop()
            stopped.set()
            await self.hold(injection.down)
            if injection.fault is Fault.POSTGRES_STOP_KILL and self._operator is not None:
                self._timeline.note("harness", "kills the operator while Postgres is away")
                at_once = Injection(injection.fault, injection.at)
                self._signal(at_once, signal.SIGKILL)
                if injection.what == "first":
                    operator = self._operator
                    await self._until(lambda: self._operator is not operator)
        finally:
            await asyncio.shield(self._around.database.start())
            self._timeline.note("harness", "Postgres is back")

    async def kill_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once, and remember whose it was."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        pod = await self._around.upstream.json("GET", path)
        self._killed_pods.add(pod["metadata"]["ownerReferences"][0]["name"])
        await self._around.upstream.send("DELETE", f"{path}?gracePeriodSeconds=0")

    async def snapshot(self) -> None:
        """Remember the lists as they are, if the plan has a stale restart."""
        if any(injection.fault is Fault.STALE_RESTART for injection in self._plan.injections):
            self._snapshots.append(await self._proxy.lists())

    async def hold(self, seconds: float) -> None:
        """Return when so much of the schedule has passed."""
        await asyncio.sleep(seconds)

    def _mend(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._mending.add(task)
        task.add_done_callback(self._mended)

    def _mended(self, task: asyncio.Task[None]) -> None:
        self._mending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._own.append(Violation("harness", None, f"a fault could not be mended: {error!r}"))

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that other processes bring about, or the clock."""
        while not condition():  # noqa: ASYNC110  # what other processes do sets no event of ours
            await asyncio.sleep(0.02)


def _over(world: World) -> bool:
    """Return whether every slot is settled, and the witness has seen the end of each Job."""
    return settled(world) and all(job.ended_at for job in world.jobs if job.slot <= world.until)


def _kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "users": [{"name": "operator", "user": {"token": "nobody-looks"}}],
        }
    )


def _logged(log: Path) -> list[Entry]:
    """Return an operator's log as entries; what is not JSON (a traceback) belongs to the line before."""
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
