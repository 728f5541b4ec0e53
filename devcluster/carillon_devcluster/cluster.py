"""One local cluster: start, stop and inspect it. The command line and the tests use this module."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from carillon_devcluster import build, parts, processes
from carillon_devcluster.errors import ClusterError, NotRunningError, PartDiedError
from carillon_devcluster.files import locked, write_atomically
from carillon_devcluster.layout import DEFAULT_NAME, DEFAULT_ROOT, Root
from carillon_devcluster.state import State
from carillon_devcluster.supervisor import PART_GRACE, PartStatus, Supervisor, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from carillon_devcluster.layout import ClusterFiles

ATTEMPTS = 3
BUSY = ("address already in use", "failed to create listener", "bind: ")
"""Messages of a part whose port was taken by another process after it was chosen."""


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of a cluster: `running`, `stopped`, or `broken` (`problem` is a sentence that says what is wrong)."""

    name: str
    state: str
    api_url: str
    kubeconfig: str
    parts: tuple[PartStatus, ...]
    problem: str = ""


class LocalCluster:
    """A local cluster, identified by its name and state root. As a context manager, it starts and stops the cluster."""

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        root: Path | str | None = None,
        *,
        build_root: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
        place: parts.Place = parts.ON_LOOPBACK,
    ) -> None:
        """Take the cluster's name; nothing is read or started.

        `build_root` has the program; default: `root`. `settings` replaces the environment variables, such as
        CARILLON_DEVCLUSTER_CM_QPS. `place` is for a real node; see `realnode`.
        """
        if not name.replace("-", "").isalnum():
            message = f"{name!r} is not a valid cluster name: use letters, digits and hyphens."
            raise ClusterError(message)
        self.name = name
        self._root = Root(Path(root or DEFAULT_ROOT).absolute())
        self._build_root = Root(Path(build_root or self._root.path).absolute())
        self._settings = os.environ if settings is None else settings
        self._files = self._root.cluster(name)
        self._place = place
        self._supervisor = Supervisor(name, self._files, self.binary, self._settings, place)

    def __enter__(self) -> Self:
        """Start the cluster; if that fails, stop it again."""
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
        """The program, which contains every part and kubectl."""
        return self._build_root.binary

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, written by `start`."""
        remembered = State.read(self._files.state).kubeconfig
        return Path(remembered) if remembered else self._default_kubeconfig()

    @property
    def api_url(self) -> str:
        """The API server's address.

        Raises:
            NotRunningError: The cluster has never been started.

        """
        state = State.read(self._files.state)
        if not state.ports:
            raise self._not_running()
        return self._place.server_url(state.ports)

    def build(self, out: TextIO | None = None) -> Path:
        """Build the program unless it is current; see `build.build`."""
        return build.build(self._build_root, out)

    @property
    def files(self) -> ClusterFiles:
        """The paths of this cluster's files."""
        return self._files

    def make_certificates(self) -> None:
        """Create the cluster's folders, keys and certificates if they are missing; `start` calls it."""
        with locked(self._files.lock):
            self._supervisor.prepare()

    def set_images(self, images: Mapping[str, Mapping[str, object]]) -> None:
        """Set the images: name to `{"entrypoint": [...], "env": {...}, "workingDir": "...", "readsAll": false}`.

        The node notices the change; a pod that waits for an image starts within about a second.
        """
        write_atomically(self._files.images, json.dumps(images, indent=2) + "\n")

    def start(self, kubeconfig: Path | str | None = None, *, timeout: float = 120.0, out: TextIO | None = None) -> None:
        """Start the parts that are not running, wait until all of them work, and write the kubeconfig.

        It has no effect if the cluster is running.

        Raises:
            PartDiedError: A part has exited; the message has the end of its log.
            StartTimeoutError: The cluster was not ready within `timeout` seconds.
            BuildError, ToolchainError: The program could not be built.

        """
        self.build(out)
        with locked(self._files.lock):
            self._supervisor.prepare()
            target = Path(kubeconfig).absolute() if kubeconfig else self.kubeconfig
            for attempt in range(ATTEMPTS):
                try:
                    self._supervisor.start(target, time.monotonic() + timeout)
                except PartDiedError as error:
                    last = attempt + 1 == ATTEMPTS
                    if last or not any(text in str(error) for text in BUSY):
                        raise
                    # Another process has taken one of the ports: choose new ones.
                    self._supervisor.stop()
                else:
                    return

    def stop(self) -> None:
        """Stop all parts and the processes of all pods. The data is kept for the next start."""
        with locked(self._files.lock):
            self._supervisor.stop()

    def kill_part(self, part: str) -> None:
        """Kill one part, as in a crash; `start` starts it again."""
        with locked(self._files.lock):
            process = State.read(self._files.state).processes.get(part)
            if process is not None:
                processes.send(process, signal.SIGKILL)
                processes.ended([process], PART_GRACE)

    def delete(self) -> None:
        """Stop the cluster and delete its data."""
        with locked(self._files.lock):
            self._supervisor.stop()
            self._supervisor.remove_kubeconfig(self.kubeconfig)
            for folder in (self._files.node_state, self._files.path):
                shutil.rmtree(folder, ignore_errors=True)
        self._files.lock.unlink(missing_ok=True)

    def status(self) -> Status:
        """Return the state of the cluster."""
        state = State.read(self._files.state)
        found = tuple(self._supervisor.part_status(name, state) for name in self._place.parts)
        url = self._place.server_url(state.ports) if state.ports else ""
        if not state.processes:
            condition, problem = "stopped", ""
        elif dead := [part for part in found if not part.alive]:
            condition, problem = "broken", describe(dead)
        elif not self._supervisor.api(state).ready():
            log = self._files.log("kube-apiserver")
            condition, problem = "broken", f"The API server is running but not ready; its log is {log}."
        else:
            condition, problem = "running", ""
        return Status(self.name, condition, url, str(self.kubeconfig), found, problem)

    def check(self) -> None:
        """Return if the cluster works.

        Raises:
            NotRunningError: It is stopped.
            PartDiedError: It is broken; the message has the end of a dead part's log.

        """
        status = self.status()
        if status.state == "stopped":
            raise self._not_running()
        if status.state == "broken":
            raise PartDiedError(status.problem)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return its output.

        Raises:
            ClusterError: kubectl failed, and `check` is true.

        """
        done = subprocess.run(self.kubectl_command(arguments), input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            message = f"kubectl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}"
            raise ClusterError(message)
        return done.stdout

    def kubectl_command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs kubectl as the administrator."""
        return [str(self.binary), "kubectl", f"--kubeconfig={self._files.kubeconfig}", *arguments]

    def _default_kubeconfig(self) -> Path:
        return self._root.path / "kubeconfig" if self.name == DEFAULT_NAME else self._files.kubeconfig

    def _not_running(self) -> NotRunningError:
        return NotRunningError(f"The cluster {self.name!r} is not running; start it first.")


def as_json(status: Status) -> dict[str, Any]:
    """Return a status as JSON."""
    return dataclasses.asdict(status)
