"""Starts, watches and stops the parts of a cluster. ``LocalCluster`` calls it with its lock held."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import time
from typing import TYPE_CHECKING

from carillon_devcluster import kubeconfig, parts, ports, processes
from carillon_devcluster.errors import ClusterError, PartDiedError, StartTimeoutError
from carillon_devcluster.files import end_of, make_node_folder, write_atomically
from carillon_devcluster.health import ApiServer
from carillon_devcluster.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from carillon_devcluster.layout import ClusterFiles

PART_GRACE = 10.0
"""Seconds that a part has to end after SIGTERM."""
USERS = ("controller-manager", "scheduler", "node")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "GOGC")
"""The variables of the caller's environment that the parts inherit."""


@dataclasses.dataclass(frozen=True)
class PartStatus:
    """A part of a cluster. `log_end` is set for a part that should be running and is not."""

    name: str
    pid: int | None
    alive: bool
    log: str
    log_end: str = ""


class Supervisor:
    """The processes of one cluster."""

    def __init__(
        self, name: str, files: ClusterFiles, binary: Path, settings: Mapping[str, str], place: parts.Place
    ) -> None:
        """Take the cluster's files and program; nothing is read or started."""
        self._name = name
        self._files = files
        self._binary = binary
        self._settings = settings
        self._place = place

    def prepare(self) -> None:
        """Create the folders, keys and certificates if they are missing."""
        for folder in (self._files.path, self._files.log("any").parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._place.process_node:
            make_node_folder(self._files)
        if not self._files.images.exists():
            write_atomically(self._files.images, "{}\n")
        done = subprocess.run(
            [self._binary, "pki", f"--dir={self._files.pki}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            message = f"The cluster's certificates could not be created in {self._files.pki}: {done.stderr.strip()}."
            raise ClusterError(message)

    def start(self, target: Path, deadline: float) -> None:
        """Start the parts that are not running, write the kubeconfigs, and wait until everything works."""
        state = State.read(self._files.state)
        if not state.processes:
            self.stop()
        alive = {name: process for name, process in state.processes.items() if process.alive()}
        held = {name for name in parts.PORTS if name.removesuffix("-peer") in alive}
        if any(not ports.is_free(state.ports.get(name, 0)) for name in set(parts.PORTS) - held) or not state.ports:
            # A new address affects all parts.
            self.stop()
            alive = {}
            state = dataclasses.replace(state, ports=ports.choose(parts.PORTS, state.ports))
        if "node" not in alive:
            processes.kill_pods(self._files.pods)
        state = dataclasses.replace(state, processes=alive, kubeconfig=str(target))
        state.write(self._files.state)
        self._write_kubeconfigs(state, target)

        booted = time.time() if "node" not in alive else 0.0
        for part in self._place.parts:
            if part == "kube-controller-manager":
                # The other parts need the API server, and some give up quickly.
                self._await(deadline, "the API server to be ready", self.api(state).ready)
            if part not in state.processes:
                state = self._spawn(part, state)
        api = self.api(state)
        self._await(deadline, "the default service account", api.has_service_account)
        if self._place.process_node:
            self._await(deadline, "the node to be ready", lambda: api.schedulable(parts.NODE_NAME, booted))

    def _spawn(self, part: str, state: State) -> State:
        arguments = parts.arguments(part, self._files, state.ports, self._settings, self._place)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        log = self._files.log(part)
        if log.exists():
            log.replace(log.with_suffix(".old.log"))
        process = processes.spawn(self._binary, arguments, log, environment)
        state = dataclasses.replace(state, processes={**state.processes, part: process})
        state.write(self._files.state)  # saved at once: otherwise the process could not be found and stopped
        return state

    def _await(self, deadline: float, what: str, condition: Callable[[], bool]) -> None:
        def done_or_dead() -> bool:
            state = State.read(self._files.state)
            dead = [part for part in state.processes if not state.processes[part].alive()]
            if dead:
                raise PartDiedError(describe([self.part_status(part, state) for part in dead]))
            return condition()

        if not processes.wait_until(done_or_dead, deadline - time.monotonic(), every=0.05):
            logs = self._files.log("x").parent
            message = f"The cluster did not become ready in time, waiting for {what}; see the logs in {logs}."
            raise StartTimeoutError(message)

    def stop(self) -> None:
        """Stop all parts and the processes of all pods."""
        state = State.read(self._files.state)
        # The node first, so that it ends its pods' processes; the database last, when there are no more writes.
        for group in (("node",), ("kube-scheduler", "kube-controller-manager"), ("kube-apiserver",), ("etcd",)):
            processes.stop([state.processes[part] for part in group if part in state.processes], PART_GRACE)
        # Processes whose record was lost.
        processes.stop(processes.of_folder(self._binary.name, self._files.path), PART_GRACE)
        processes.kill_pods(self._files.pods)
        if state.processes:
            dataclasses.replace(state, processes={}).write(self._files.state)

    def _write_kubeconfigs(self, state: State, target: Path) -> None:
        url = self._place.server_url(state.ports)
        for user in USERS:
            content = kubeconfig.render(self._name, url, self._files, user)
            write_atomically(self._files.kubeconfig_of(user), content)
        admin = kubeconfig.render(self._name, url, self._files, "admin")
        for path in {self._files.kubeconfig, target}:
            write_atomically(path, admin)

    def remove_kubeconfig(self, path: Path) -> None:
        """Delete a kubeconfig unless another cluster has replaced it."""
        with contextlib.suppress(OSError):
            if path.read_bytes() == self._files.kubeconfig.read_bytes():
                path.unlink()

    def api(self, state: State) -> ApiServer:
        """Return a client of the API server."""
        return ApiServer(self._place.server_url(state.ports), self._files)

    def part_status(self, name: str, state: State) -> PartStatus:
        """Return the status of one part."""
        process = state.processes.get(name)
        alive = process is not None and process.alive()
        log = self._files.log(name)
        missing = bool(state.processes) and not alive
        return PartStatus(name, process.pid if process else None, alive, str(log), end_of(log) if missing else "")


def describe(dead: Sequence[PartStatus]) -> str:
    """Return the message about the dead parts, each with the end of its log."""
    told = []
    for part in dead:
        end = "\n".join(f"  {line}" for line in part.log_end.splitlines()) or "  (its log is empty)"
        told.append(f"{part.name} is not running; start the cluster again. The end of {part.log}:\n{end}")
    return "\n".join(told)
