"""Controller managers with nothing but the CronJob controller, and a watch of pods that lets faults strike them."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp

from faults.controls import PlanControls, kubeconfig
from faults.native.surroundings import NativeSurroundings
from faults.plans.plan import Plan
from faults.plans.suite import NATIVE
from faults.processes.operators import LOG, READY, Operator

KUBECONFIG = "kubeconfig"
AGAIN_SECONDS = 0.2
_PODS = "/api/v1/pods?watch=true"
_FLAGS = (
    "--controllers=cronjob-controller",
    "--leader-elect=false",
    "--secure-port=0",
    "--profiling=false",
    "--kube-api-content-type=application/json",  # the proxy reads no protobuf
    "--feature-gates=WatchListClient=false",  # lists are requests of their own, as the operator's are
    "-v=4",
)


class NativeControls(PlanControls):
    """Runs the controller managers of a plan."""

    who = "manager"

    def __init__(self, plan: Plan, around: NativeSurroundings, namespace: str) -> None:
        """Prepare the proxy; start nothing yet."""
        super().__init__(plan, NATIVE, around, namespace)
        self._program = around.program

    async def _equip(self, stack: AsyncExitStack) -> None:
        watching = asyncio.ensure_future(self._watch_pods())

        async def end() -> None:
            watching.cancel()
            await asyncio.wait({watching})
            await asyncio.sleep(AGAIN_SECONDS)  # the proxy sees the end of the watch before it ends itself

        stack.push_async_callback(end)

    async def _watch_pods(self) -> None:
        """Watch pods through the proxy, because the CronJob controller does not: some faults strike at their events."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{self._proxy.url}{_PODS}") as answer:
                        async for _ in answer.content.iter_any():
                            pass
                await asyncio.sleep(AGAIN_SECONDS)

    async def _launched(self, folder: Path, server: str, step: int) -> Operator:
        if step:
            msg = "the clock of a Go program cannot be set for one process"
            raise NotImplementedError(msg)
        (folder / KUBECONFIG).write_text(kubeconfig(server))
        with (folder / LOG).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(str(self._program), "kube-controller-manager", f"--kubeconfig={folder / KUBECONFIG}", *_FLAGS),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(folder), "TZ": "UTC"},
                start_new_session=True,
            )
        (folder / READY).touch()
        return Operator(process.pid, folder, asyncio.ensure_future(process.wait()))
