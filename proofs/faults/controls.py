"""The operators of one plan, and the effects of its faults on them, on Postgres and on pods.

``run.PlanRun`` starts it; the proxy calls it as ``director.Controls`` when a
fault strikes.
"""

import asyncio
import json
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from carillon_local.layout import RUNNER_IMAGE
from faults.injection.cluster import ClusterFaults
from faults.injection.director import Blur, Director, Outage
from faults.injection.proxy import WATCHED, Lists, Proxy
from faults.injection.recorder_proxy import RecorderProxy
from faults.injection.strangers import OTHER
from faults.injection.timeline import Timeline, now
from faults.plans.plan import Fault, Injection, Plan
from faults.plans.scenarios import SCENARIOS
from faults.processes.clock import STEP_VARIABLE
from faults.processes.operators import KUBECONFIG, Operator
from faults.repairs import Repairs
from faults.surroundings import Surroundings
from faults.verdict.oracle import SECOND, Violation
from faults.waiting import until

START_SECONDS = 60
REIGN_SECONDS = 3
"""How long an operator whose clock is wrong decides."""
_SNAPSHOTS = 3


class PlanControls:
    """Runs a plan's operators behind their proxies and carries out its faults; begin it with ``running``."""

    def __init__(self, plan: Plan, around: Surroundings, namespace: str, timeline: Timeline) -> None:
        """Prepare the proxy; start nothing yet."""
        self.director = Director(plan.injections, timeline)
        self.folder = around.folder / namespace
        self.violations: list[Violation] = []
        """Errors outside the slots: an operator that exited by itself, a fault that could not be undone."""
        self._plan = plan
        self._around = around
        self._namespace = namespace
        self._timeline = timeline
        self._operator: Operator | None = None
        self._expected_to_end = False
        self._repairs = Repairs(self.violations)
        self.cluster = ClusterFaults(around.upstream, namespace, self._repairs.begin)
        other = f"{namespace}{OTHER}" if SCENARIOS[plan.scenario].shared else ""
        self._snapshots: deque[Lists] = deque(maxlen=_SNAPSHOTS)
        self._proxy = Proxy(around.upstream, namespace, self.director, self, other)
        self._recording = RecorderProxy(around.recorder.url, self.director, self)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the operator, and the second one if the plan has it, until the block ends."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._proxy.running())
                await stack.enter_async_context(self._recording.running())
                stack.push_async_callback(self._end_operator)
                await self._start("operator", self._proxy, self._take_operator)
                for injection in self._plan.injections:
                    if injection.fault is Fault.SECOND_OPERATOR:
                        await self._start_second(stack, injection)
                yield
            finally:
                await self._repairs.end()

    @property
    def repaired(self) -> bool:
        """Whether everything that faults stopped runs again."""
        return not self._repairs.pending

    def _take_operator(self, operator: Operator) -> None:
        self._operator = operator

    async def _start(self, name: str, proxy: Proxy, take: Callable[[Operator], None], step: int = 0) -> None:
        """Start an operator and wait until it decides; take it before that, because a fault may strike earlier."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / KUBECONFIG).write_text(_kubeconfig(proxy.url))
        proxy.watching.clear()
        environment = {
            "DATABASE_URL": self._around.database.url,
            STEP_VARIABLE: str(step),
            **(
                {"CARILLON_RUNNER_DATABASE_URL": self._around.database.runner_url}
                if SCENARIOS[self._plan.scenario].direct
                else {"CARILLON_RECORDER_URL": self._recording.url}
            ),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_HTTP_ALLOW": "127.0.0.0/8,::1",  # the counting target is there
            "CARILLON_LOG_LEVEL": "INFO",
        }
        operator = await self._around.operators.start(folder, environment)
        self._timeline.note("harness", f"starts {name}, process {operator.pid}")
        operator.ended.add_done_callback(lambda code: self._ended(name, code))
        take(operator)
        async with asyncio.timeout(START_SECONDS):
            await until(lambda: operator.ended.done() or (operator.ready and proxy.watching >= set(WATCHED)))
        self._timeline.note("harness", f"{name} is ready")

    async def _start_second(self, stack: AsyncExitStack, injection: Injection) -> None:
        """Start a second operator beside the first; its proxy injects no fault but lag."""
        lag = timedelta(milliseconds=int(injection.what or 0))
        director = Director((), self._timeline, "second")
        if lag:  # it may see an execution as active that has ended
            self.director.blurs.append(Blur(now(), None, why=f"{SECOND} sees everything {lag} late"))
        proxy = Proxy(self._around.upstream, self._namespace, director, self, lag=lag)
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
        self._timeline.note("harness", f"{name} ended with exit code {code.result()}")
        if not self._expected_to_end:
            what = f"the operator ended by itself with exit code {code.result()}"
            self.violations.append(Violation(name, None, what))

    async def _end_operator(self) -> None:
        self._expected_to_end = True
        if self._operator is not None:
            await self._operator.kill()

    def kill(self, injection: Injection) -> None:
        """Send the operator SIGKILL; a new one starts after the injection's ``down``."""
        self._signal(injection, signal.SIGKILL)

    def terminate(self, injection: Injection) -> None:
        """Send the operator SIGTERM; a new one starts after the injection's ``down``."""
        self._signal(injection, signal.SIGTERM)

    def _signal(self, injection: Injection, number: signal.Signals) -> None:
        if self._operator is None or self._expected_to_end:
            return  # the plan's other fault has already ended it
        self._expected_to_end = True
        operator, outage = self._operator, self.director.outage("", f"{injection}")
        operator.send(number)
        self._repairs.begin(self._replace(operator, injection, outage))

    async def _replace(self, operator: Operator, injection: Injection, outage: Outage) -> None:
        """Start another operator once the killed one has ended and ``down`` has passed."""
        code = await asyncio.shield(operator.ended)
        if injection.fault is Fault.TERMINATE and code != 0:
            self.violations.append(Violation("operator", None, f"it exited with {code} on SIGTERM"))
        await self.hold(injection.down)
        if injection.fault is Fault.CLOCK_STEP:
            await self._reign_at_another_time(int(injection.what))
        if injection.fault is Fault.STALE_RESTART and self._snapshots:
            old = self._snapshots[0]
            wanted = set(old) if injection.what == "all" else {injection.what}
            self._proxy.fall_behind({resource: body for resource, body in old.items() if resource in wanted})
        blur = self.director.blur("", "a stale restart") if injection.fault is Fault.STALE_RESTART else None
        self._expected_to_end = False
        await self._start("operator", self._proxy, self._take_operator)
        if blur is not None:
            await until(lambda: self._proxy.caught_up)
            blur.end = now()
        outage.end = now()

    async def _reign_at_another_time(self, step: int) -> None:
        """Let an operator whose clock is this many seconds ahead decide for a while."""
        if step > 0:  # it takes the slots of that time away from its successor
            self.director.outage("", "a clock was ahead")
        await self._start("operator", self._proxy, self._take_operator, step)
        await self.hold(REIGN_SECONDS)
        if self._operator is not None:
            await self._operator.kill()

    async def stop_postgres(self, injection: Injection) -> None:
        """Stop Postgres and return; it starts again after the injection's ``down``."""
        stopped = asyncio.Event()
        self._repairs.begin(self._outage_of_postgres(injection, stopped))
        await stopped.wait()

    async def _outage_of_postgres(self, injection: Injection, stopped: asyncio.Event) -> None:
        self._timeline.note("harness", "stops Postgres")
        try:
            await self._around.database.stop()
            stopped.set()
            await self.hold(injection.down)
            if injection.fault is Fault.POSTGRES_STOP_KILL and self._operator is not None:
                self._timeline.note("harness", "kills the operator while Postgres is down")
                at_once = Injection(injection.fault, injection.at)
                self._signal(at_once, signal.SIGKILL)
                if injection.what == "first":
                    operator = self._operator
                    await until(lambda: self._operator is not operator)
        finally:
            await asyncio.shield(self._around.database.start())
            self._timeline.note("harness", "Postgres is up again")

    async def fill_postgres(self, injection: Injection) -> None:
        """Take all connections of Postgres and return; they are free again after the injection's ``down``."""
        full = asyncio.Event()

        async def fill() -> None:
            try:
                async with self._around.database.filled() as taken:
                    self._timeline.note("harness", f"strangers have {taken} connections to Postgres")
                    full.set()
                    await self.hold(injection.down)
            finally:
                full.set()
            self._timeline.note("harness", "the strangers have gone")

        self._repairs.begin(fill())
        await full.wait()

    async def kill_recorder(self, injection: Injection) -> None:
        """Kill the recorder and return; it starts again after the injection's ``down``."""
        await self._around.recorder.kill()

        async def start_again() -> None:
            await self.hold(injection.down)
            await self._around.recorder.start()
            self._timeline.note("harness", "the recorder serves again")

        self._repairs.begin(start_again())

    async def strike(self, injection: Injection, resource: str, name: str) -> None:
        """Do to a pod or a Job what the injection says."""
        await self.cluster.strike(injection, resource, name)

    async def snapshot(self) -> None:
        """Remember the current lists, if the plan has a stale restart."""
        if any(injection.fault is Fault.STALE_RESTART for injection in self._plan.injections):
            self._snapshots.append(await self._proxy.lists())

    async def hold(self, seconds: float) -> None:
        """Wait while the schedule goes on."""
        await asyncio.sleep(seconds)


def _kubeconfig(server: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
            "users": [{"name": "operator", "user": {"token": "not-checked"}}],
        }
    )
