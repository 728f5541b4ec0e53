"""The scheduler processes of one plan, and the effects of its faults on them and on pods.

``run.PlanRun`` starts it; the proxy calls it as ``director.Controls`` when a
fault strikes. ``carillon.controls`` and ``native.controls`` know the programs.
"""

import asyncio
import json
import signal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from faults.injection.cluster import ClusterFaults
from faults.injection.director import Blur, Director, Outage
from faults.injection.proxy import Lists, Proxy
from faults.injection.strangers import OTHER
from faults.injection.timeline import Timeline, now
from faults.plans.plan import Fault, Injection, Plan
from faults.plans.suite import Suite
from faults.processes.operators import Operator
from faults.repairs import Repairs
from faults.surroundings import Surroundings
from faults.verdict.launches import SECOND
from faults.verdict.seen import Violation
from faults.waiting import until

START_SECONDS = 60


class PlanControls(ABC):
    """Runs a plan's schedulers behind their proxies and carries out its faults; begin it with ``running``."""

    who = "operator"
    """What a scheduler is called in the log; its log is ``operator.log`` in a folder of this name."""

    def __init__(self, plan: Plan, suite: Suite, around: Surroundings, namespace: str) -> None:
        """Prepare the proxy; start nothing yet."""
        self.timeline = Timeline()
        self.director = Director(plan.injections, self.timeline)
        self.folder = around.folder / namespace
        self.violations: list[Violation] = []
        """Errors outside the slots: an operator that exited by itself, a fault that could not be undone."""
        self.plan = plan
        self.suite = suite
        self._upstream = around.upstream
        self._namespace = namespace
        self._operator: Operator | None = None
        self._expected_to_end = False
        self._repairs = Repairs(self.violations)
        self.cluster = ClusterFaults(around.upstream, namespace, self._repairs.begin, suite.dialect)
        self.scenario = suite.scenarios[plan.scenario]
        self._snapshots: deque[Lists] = deque(maxlen=suite.pace.snapshots)
        other = f"{namespace}{OTHER}" if self.scenario.shared else ""
        self._proxy = self._proxy_for(self.director, other)

    def _proxy_for(self, director: Director, other: str = "", lag: timedelta = timedelta()) -> Proxy:
        return Proxy(
            self._upstream,
            self._namespace,
            director,
            self,
            other=other,
            lag=lag,
            dialect=self.suite.dialect,
            pace=self.suite.pace,
        )

    @abstractmethod
    async def _launched(self, folder: Path, server: str, step: int) -> Operator:
        """Start a scheduler.

        Args:
            folder: Where its log goes.
            server: The address of its proxy.
            step: By how many seconds its clock is ahead.

        """

    async def _equip(self, stack: AsyncExitStack) -> None:  # noqa: B027  # a hook
        """Start what the plan needs besides schedulers and their proxies."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the scheduler, and the second one if the plan has it, until the block ends."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._proxy.running())
                await self._equip(stack)
                stack.push_async_callback(self._end_operator)
                await self._start(self.who, self._proxy, self._take_operator)
                for injection in self.plan.injections:
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
        """Start a scheduler and wait until it decides; take it before that, because a fault may strike earlier."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        proxy.watching.clear()
        operator = await self._launched(folder, proxy.url, step)
        self.timeline.note("harness", f"starts {name}, process {operator.pid}")
        operator.ended.add_done_callback(lambda code: self._ended(name, code))
        take(operator)
        watched = set(self.suite.dialect.watched)
        async with asyncio.timeout(START_SECONDS):
            await until(lambda: operator.ended.done() or (operator.ready and proxy.watching >= watched))
        self.timeline.note("harness", f"{name} is ready")

    async def _start_second(self, stack: AsyncExitStack, injection: Injection) -> None:
        """Start a second operator beside the first; its proxy injects no fault but lag."""
        lag = timedelta(milliseconds=int(injection.what or 0))
        director = Director((), self.timeline, "second")
        if lag:  # it may see an execution as active that has ended
            self.director.blurs.append(Blur(now(), None, why=f"{SECOND} sees everything {lag} late"))
        proxy = self._proxy_for(director, lag=lag)
        await stack.enter_async_context(proxy.running())
        started: list[Operator] = []

        async def end() -> None:
            self._expected_to_end = True
            for second in started:
                await second.kill()

        stack.push_async_callback(end)
        await self._start("second", proxy, started.append)
        self.timeline.note("FAULT", str(injection))

    def _ended(self, name: str, code: asyncio.Future[int]) -> None:
        if code.cancelled():
            return
        self.timeline.note("harness", f"{name} ended with exit code {code.result()}")
        if not self._expected_to_end:
            what = f"it ended by itself with exit code {code.result()}"
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
        await self.hold(injection.down)
        await self._between(injection, code)
        if injection.fault is Fault.STALE_RESTART and self._snapshots:
            old = self._snapshots[0]
            wanted = set(old) if injection.what == "all" else {injection.what}
            self._proxy.fall_behind({resource: body for resource, body in old.items() if resource in wanted})
        blur = self.director.blur("", "a stale restart") if injection.fault is Fault.STALE_RESTART else None
        self._expected_to_end = False
        await self._start(self.who, self._proxy, self._take_operator)
        if blur is not None:
            await until(lambda: self._proxy.caught_up)
            blur.end = now()
        outage.end = now()

    async def _between(self, injection: Injection, code: int) -> None:  # noqa: B027  # a hook
        """Take the exit code of a scheduler that a fault ended, before another takes its place."""

    async def disrupt(self, injection: Injection) -> None:
        """Stop, or fill, the service that the fault is about, and return; it serves again after ``down``."""
        raise NotImplementedError(f"{self.who} has no service that {injection.fault} could strike")

    async def strike(self, injection: Injection, resource: str, name: str) -> None:
        """Do to a pod or a Job what the injection says."""
        await self.cluster.strike(injection, resource, name)

    async def snapshot(self) -> None:
        """Remember the current lists, if the plan has a stale restart."""
        if any(injection.fault is Fault.STALE_RESTART for injection in self.plan.injections):
            self._snapshots.append(await self._proxy.lists())

    async def hold(self, seconds: float) -> None:
        """Wait while the schedule goes on."""
        await asyncio.sleep(seconds)


def kubeconfig(server: str) -> str:
    """Return the kubeconfig of a scheduler behind a proxy."""
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
