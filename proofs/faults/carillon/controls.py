"""Carillon's operators, and what faults do to its recorder, to Postgres and to clocks."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from carillon_local.layout import RUNNER_IMAGE
from faults.carillon.surroundings import OperatorSurroundings
from faults.controls import PlanControls, kubeconfig
from faults.injection.recorder_proxy import RecorderProxy
from faults.plans.plan import RECORDER_FAULTS, Fault, Injection, Plan
from faults.plans.suite import TASKS
from faults.processes.clock import STEP_VARIABLE
from faults.processes.operators import KUBECONFIG, Operator
from faults.verdict.seen import Violation
from faults.waiting import until

REIGN_SECONDS = 3
"""How long an operator whose clock is wrong decides."""


class OperatorControls(PlanControls):
    """Runs the operators of a plan, and its faults on what they need."""

    def __init__(self, plan: Plan, around: OperatorSurroundings, namespace: str) -> None:
        """Prepare the proxies; start nothing yet."""
        super().__init__(plan, TASKS, around, namespace)
        self._around = around
        self._recording = RecorderProxy(around.recorder.url, self.director, self)

    async def _equip(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._recording.running())

    async def _launched(self, folder: Path, server: str, step: int) -> Operator:
        (folder / KUBECONFIG).write_text(kubeconfig(server))
        environment = {
            "DATABASE_URL": self._around.database.url,
            STEP_VARIABLE: str(step),
            **(
                {"CARILLON_RUNNER_DATABASE_URL": self._around.database.runner_url}
                if self.scenario.direct
                else {"CARILLON_RECORDER_URL": self._recording.url}
            ),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_HTTP_ALLOW": "127.0.0.0/8,::1",  # the counting target is there
            "CARILLON_LOG_LEVEL": "INFO",
        }
        return await self._around.operators.start(folder, environment)

    async def _between(self, injection: Injection, code: int) -> None:
        """Judge the exit code; let an operator whose clock is wrong decide for a while, if the fault says so."""
        if injection.fault is Fault.TERMINATE and code != 0:
            self.violations.append(Violation(self.who, None, f"it exited with {code} on SIGTERM"))
        if injection.fault is not Fault.CLOCK_STEP:
            return
        step = int(injection.what)
        if step > 0:  # it takes the slots of that time away from its successor
            self.director.outage("", "a clock was ahead")
        await self._start(self.who, self._proxy, self._take_operator, step)
        await self.hold(REIGN_SECONDS)
        if self._operator is not None:
            await self._operator.kill()

    async def disrupt(self, injection: Injection) -> None:
        """Stop the recorder, or stop or fill Postgres; it serves again after ``down``."""
        if injection.fault in RECORDER_FAULTS:
            await self._kill_recorder(injection)
        elif injection.fault is Fault.POSTGRES_FULL:
            await self._fill_postgres(injection)
        else:
            await self._stop_postgres(injection)

    async def _stop_postgres(self, injection: Injection) -> None:
        """Stop Postgres and return; it starts again after the injection's ``down``."""
        stopped = asyncio.Event()
        self._repairs.begin(self._outage_of_postgres(injection, stopped))
        await stopped.wait()

    async def _outage_of_postgres(self, injection: Injection, stopped: asyncio.Event) -> None:
        self.timeline.note("harness", "stops Postgres")
        try:
            await self._around.database.stop()
            stopped.set()
            await self.hold(injection.down)
            if injection.fault is Fault.POSTGRES_STOP_KILL and self._operator is not None:
                self.timeline.note("harness", "kills the operator while Postgres is down")
                at_once = Injection(injection.fault, injection.at)
                self._signal(at_once, signal.SIGKILL)
                if injection.what == "first":
                    operator = self._operator
                    await until(lambda: self._operator is not operator)
        finally:
            await asyncio.shield(self._around.database.start())
            self.timeline.note("harness", "Postgres is up again")

    async def _fill_postgres(self, injection: Injection) -> None:
        """Take all connections of Postgres and return; they are free again after the injection's ``down``."""
        full = asyncio.Event()

        async def fill() -> None:
            try:
                async with self._around.database.filled() as taken:
                    self.timeline.note("harness", f"strangers have {taken} connections to Postgres")
                    full.set()
                    await self.hold(injection.down)
            finally:
                full.set()
            self.timeline.note("harness", "the strangers have gone")

        self._repairs.begin(fill())
        await full.wait()

    async def _kill_recorder(self, injection: Injection) -> None:
        """Kill the recorder and return; it starts again after the injection's ``down``."""
        await self._around.recorder.kill()

        async def start_again() -> None:
            await self.hold(injection.down)
            await self._around.recorder.start()
            self.timeline.note("harness", "the recorder serves again")

        self._repairs.begin(start_again())
