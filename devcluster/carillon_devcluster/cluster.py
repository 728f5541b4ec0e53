"""One local cluster: starting, stopping and looking at it. The command line and the tests both come here."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from carillon_devcluster import build, kubeconfig, parts, ports, processes
from carillon_devcluster.errors import ClusterError, NotRunningError, PartDiedError, StartTimeoutError
from carillon_devcluster.files import end_of, locked, write_atomically
from carillon_devcluster.health import ApiServer
from carillon_devcluster.layout import DEFAULT_NAME, DEFAULT_ROOT, Root
from carillon_devcluster.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

PART_GRACE = 10.0
ATTEMPTS = 3
BUSY = ("address already in use", "failed to create listener", "bind: ")
"""What a part says whose port was taken between its choice and its use."""

USERS = ("controller-manager", "scheduler", "node")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
"""All that the parts see of the caller's environment."""


@dataclasses.dataclass(frozen=True)
class PartStatus:
    """A part of a cluster. `log_end` is filled in for a part that should run and does not."""

    name: str
    pid: int | None
    alive: bool
    log: str
    log_end: str = ""


@dataclasses.dataclass(frozen=True)
class Status:
    """A cluster: `running` (all is well), `stopped`, or `broken` (`problem` says in a sentence what is wrong)."""

    name: str
    state: str
    api_url: str
    kubeconfig: str
    parts: tuple[PartStatus, ...]
    problem: str = ""


class LocalCluster:
    """A local cluster by its name and its state root. As a context manager it is started, and stopped at the end."""

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        root: Path | str | None = None,
        *,
        build_root: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Name a cluster; nothing is read or started.

        `build_root` is where the program is, if another place than `root`. `settings` stand for environment variables
        such as CARILLON_DEVCLUSTER_CM_QPS; the default is the environment.
        """
        if not name.replace("-", "").isalnum():
            message = f"{name!r} cannot be a cluster's name; use letters, digits and dashes."
            raise ClusterError(message)
        self.name = name
        self._root = Root(Path(root or DEFAULT_ROOT).absolute())
        self._build_root = Root(Path(build_root or self._root.path).absolute())
        self._settings = os.environ if settings is None else settings
        self._files = self._root.cluster(name)

    def __enter__(self) -> Self:
        """Start the cluster; one that does not come up is stopped again."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the cluster."""
        self.stop()

    @property
    def binary(self) -> Path:
        """The program that is every part, and kubectl."""
        return self._build_root.binary

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; written by `start`."""
        remembered = State.read(self._files.state).kubeconfig
        return Path(remembered) if remembered else self._default_kubeconfig()

    @property
    def api_url(self) -> str:
        """The API server's address.

        Raises:
            NotRunningError: The cluster was never started.

        """
        state = State.read(self._files.state)
        if not state.ports:
            raise self._not_running()
        return parts.server_url(state.ports)

    def build(self, out: TextIO | None = None) -> Path:
        """Build the program unless it is current; see `build.build`."""
        return build.build(self._build_root, out)

    def set_images(self, images: Mapping[str, Mapping[str, object]]) -> None:
        """Say which images there are: name to `{"entrypoint": [...], "env": {...}, "workingDir": "..."}`.

        The node looks again by itself; a pod that waits for an image starts within a second or so.
        """
        write_atomically(self._files.images, json.dumps(images, indent=2) + "\n")

    def start(self, kubeconfig: Path | str | None = None, *, timeout: float = 120.0, out: TextIO | None = None) -> None:
        """Start what does not run, wait until all of it works, and write the kubeconfig.

        Harmless when the cluster runs already.

        Raises:
            PartDiedError: A part ended; the message has the end of its log.
            StartTimeoutError: The cluster was not ready within `timeout` seconds.
            BuildError, ToolchainError: The program could not be built.

        """
        self.build(out)
        with locked(self._files.lock):
            self._prepare()
            target = Path(kubeconfig).absolute() if kubeconfig else self.kubeconfig
            for attempt in range(ATTEMPTS):
                try:
                    self._start_parts(target, time.monotonic() + timeout)
                except PartDiedError as error:
                    last = attempt + 1 == ATTEMPTS
                    if last or not any(text in str(error) for text in BUSY):
                        raise
                    # Somebody was faster at one of the ports. Those that are busy are chosen anew.
                    self._stop_parts()
                else:
                    return

    def stop(self) -> None:
        """End all parts and all pods' processes. The data stays for the next start."""
        with locked(self._files.lock):
            self._stop_parts()

    def kill_part(self, part: str) -> None:
        """End one part without a warning, as a crash does; `start` starts it again."""
        with locked(self._files.lock):
            process = State.read(self._files.state).processes.get(part)
            if process is not None:
                processes.send(process, signal.SIGKILL)
                processes.ended([process], PART_GRACE)

    def delete(self) -> None:
        """Stop the cluster and remove everything of it."""
        with locked(self._files.lock):
            self._stop_parts()
            self._remove_kubeconfig()
            shutil.rmtree(self._files.path, ignore_errors=True)
        self._files.lock.unlink(missing_ok=True)

    def status(self) -> Status:
        """Look at the cluster."""
        state = State.read(self._files.state)
        found = tuple(self._part_status(name, state) for name in parts.PARTS)
        url = parts.server_url(state.ports) if state.ports else ""
        if not state.processes:
            condition, problem = "stopped", ""
        elif dead := [part for part in found if not part.alive]:
            condition, problem = "broken", describe(dead)
        elif not self._api(state).ready():
            log = self._files.log("kube-apiserver")
            condition, problem = "broken", f"The API server runs but is not ready; its log is {log}."
        else:
            condition, problem = "running", ""
        return Status(self.name, condition, url, str(self.kubeconfig), found, problem)

    def check(self) -> None:
        """Do nothing if the cluster works.

        Raises:
            NotRunningError: It is stopped.
            PartDiedError: Something of it is not as it should be; the message has the end of a dead part's log.

        """
        status = self.status()
        if status.state == "stopped":
            raise self._not_running()
        if status.state == "broken":
            raise PartDiedError(status.problem)

    def compact(self) -> None:
        """Have etcd forget all versions but the newest, as the API server has it do every five minutes."""
        port = State.read(self._files.state).ports["etcd"]
        trust = ssl.create_default_context(cafile=self._files.certificate("ca"))
        trust.load_cert_chain(self._files.certificate("apiserver"), self._files.key("apiserver"))
        connection = http.client.HTTPSConnection(ports.LOOPBACK, port, timeout=10, context=trust)
        with contextlib.closing(connection):
            newest = _ask(connection, "range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"]
            _ask(connection, "compaction", {"revision": newest, "physical": True})

    def log(self, part: str) -> Path:
        """Return the path of a part's log."""
        return self._files.log(part)

    def pod_files(self, uid: str) -> Path:
        """Return the folder of a pod's files: for each container its logs, and its process while it runs."""
        return self._files.pods / uid

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises:
            ClusterError: kubectl failed, and `check` was not turned off.

        """
        done = subprocess.run(self.kubectl_command(arguments), input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            message = f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}"
            raise ClusterError(message)
        return done.stdout

    def kubectl_command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs kubectl as the administrator."""
        return [str(self.binary), "kubectl", f"--kubeconfig={self._files.kubeconfig}", *arguments]

    # What follows is done with the lock held.

    def _prepare(self) -> None:
        for folder in (self._files.path, self._files.log("any").parent, self._files.pods):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._files.images.exists():
            self.set_images({})
        done = subprocess.run(
            [self.binary, "pki", f"--dir={self._files.pki}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            message = f"The cluster's certificates could not be made in {self._files.pki}: {done.stderr.strip()}."
            raise ClusterError(message)

    def _start_parts(self, target: Path, deadline: float) -> None:
        state = State.read(self._files.state)
        if not state.processes:
            self._stop_parts()
        alive = {name: process for name, process in state.processes.items() if process.alive()}
        held = {name for name in parts.PORTS if name.removesuffix("-peer") in alive}
        if any(not ports.is_free(state.ports.get(name, 0)) for name in set(parts.PORTS) - held) or not state.ports:
            # A new address for one is news for all.
            self._stop_parts()
            alive = {}
            state = dataclasses.replace(state, ports=ports.choose(parts.PORTS, state.ports))
        if "node" not in alive:
            processes.kill_pods(self._files.pods)
        state = dataclasses.replace(state, processes=alive, kubeconfig=str(target))
        state.write(self._files.state)
        self._write_kubeconfigs(state, target)

        booted = time.time() if "node" not in alive else 0.0
        for part in parts.PARTS:
            if part == "kube-controller-manager":
                # From here on all parts are the API server's clients, and some give up soon.
                self._await(deadline, "the API server to be ready", self._api(state).ready)
            if part not in state.processes:
                state = self._spawn(part, state)
        api = self._api(state)
        self._await(deadline, "the default service account", api.has_service_account)
        self._await(deadline, "the node to be ready", lambda: api.schedulable(parts.NODE_NAME, booted))

    def _spawn(self, part: str, state: State) -> State:
        arguments = parts.arguments(part, self._files, state.ports, self._settings)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        log = self._files.log(part)
        if log.exists():
            log.replace(log.with_suffix(".old.log"))
        process = processes.spawn(self.binary, arguments, log, environment)
        state = dataclasses.replace(state, processes={**state.processes, part: process})
        state.write(self._files.state)  # at once: nobody else could end it otherwise
        return state

    def _await(self, deadline: float, what: str, condition: Callable[[], bool]) -> None:
        def done_or_dead() -> bool:
            state = State.read(self._files.state)
            dead = [part for part in state.processes if not state.processes[part].alive()]
            if dead:
                raise PartDiedError(describe([self._part_status(part, state) for part in dead]))
            return condition()

        if not processes.wait_until(done_or_dead, deadline - time.monotonic(), every=0.05):
            logs = self._files.log("x").parent
            message = f"The cluster did not become ready in time, waiting for {what}; see the logs in {logs}."
            raise StartTimeoutError(message)

    def _stop_parts(self) -> None:
        state = State.read(self._files.state)
        # The node first, so that it ends its pods' processes; the database last, when nobody writes any more.
        for group in (("node",), ("kube-scheduler", "kube-controller-manager"), ("kube-apiserver",), ("etcd",)):
            processes.stop([state.processes[part] for part in group if part in state.processes], PART_GRACE)
        # What no record names any more, because the record was lost.
        processes.stop(processes.of_folder(self.binary.name, self._files.path), PART_GRACE)
        processes.kill_pods(self._files.pods)
        if state.processes:
            dataclasses.replace(state, processes={}).write(self._files.state)

    def _write_kubeconfigs(self, state: State, target: Path) -> None:
        url = parts.server_url(state.ports)
        for user in USERS:
            content = kubeconfig.render(self.name, url, self._files, user)
            write_atomically(self._files.kubeconfig_of(user), content)
        admin = kubeconfig.render(self.name, url, self._files, "admin")
        for path in {self._files.kubeconfig, target}:
            write_atomically(path, admin)

    def _remove_kubeconfig(self) -> None:
        # Only if it still is this cluster's: the path may hold another one's by now.
        with contextlib.suppress(OSError):
            if self.kubeconfig.read_bytes() == self._files.kubeconfig.read_bytes():
                self.kubeconfig.unlink()

    def _default_kubeconfig(self) -> Path:
        return self._root.path / "kubeconfig" if self.name == DEFAULT_NAME else self._files.kubeconfig

    def _api(self, state: State) -> ApiServer:
        return ApiServer(parts.server_url(state.ports), self._files)

    def _part_status(self, name: str, state: State) -> PartStatus:
        process = state.processes.get(name)
        alive = process is not None and process.alive()
        log = self._files.log(name)
        missing = bool(state.processes) and not alive
        return PartStatus(name, process.pid if process else None, alive, str(log), end_of(log) if missing else "")

    def _not_running(self) -> NotRunningError:
        return NotRunningError(f"The cluster {self.name!r} does not run; start it first.")


def describe(dead: Sequence[PartStatus]) -> str:
    """Say which parts are dead, each with the end of its log."""
    told = []
    for part in dead:
        end = "\n".join(f"  {line}" for line in part.log_end.splitlines()) or "  (its log is empty)"
        told.append(f"{part.name} is not running; start the cluster again to mend it. The end of {part.log}:\n{end}")
    return "\n".join(told)


def as_json(status: Status) -> dict[str, Any]:
    """Return a status as JSON has it."""
    return dataclasses.asdict(status)


def _ask(connection: http.client.HTTPSConnection, method: str, body: Mapping[str, object]) -> dict[str, Any]:
    """Call etcd through its JSON gateway."""
    connection.request("POST", f"/v3/kv/{method}", body=json.dumps(body))
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status != http.HTTPStatus.OK:
        raise ClusterError(f"etcd refuses {method}: {answer}")
    return answer
