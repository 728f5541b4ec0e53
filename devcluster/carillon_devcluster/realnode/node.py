"""One real node: starts it with its control plane, loads images, and removes it without a trace."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from carillon_devcluster import kubeconfig, ports, processes
from carillon_devcluster.cluster import LocalCluster
from carillon_devcluster.errors import ClusterError, PartDiedError, StartTimeoutError
from carillon_devcluster.files import end_of, locked, readable_by_others, write_atomically
from carillon_devcluster.health import ApiServer
from carillon_devcluster.layout import DEFAULT_ROOT, Root
from carillon_devcluster.parts import Place
from carillon_devcluster.realnode import config, dns, leftovers, network, volumes
from carillon_devcluster.realnode.build import Programs, build, check_machine, programs_of
from carillon_devcluster.realnode.places import NODE_NAME, Places
from carillon_devcluster.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

DAEMONS = ("containerd", "coredns", "kubelet", "kube-proxy")
"""The daemons in start order; they are stopped in reverse order."""

GRACE = 10.0
USERS = ("coredns", "kubelet", "kube-proxy")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")


class RealNode:
    """A cluster whose only node runs containers. As a context manager, it starts and stops the cluster."""

    def __init__(
        self,
        name: str,
        root: Path | str | None = None,
        *,
        build_root: Path | str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Take the cluster's name; nothing is read or started. The arguments are those of `LocalCluster`."""
        place = Place(address=network.ADDRESS, certificate="apiserver-bridge", process_node=False)
        self.cluster = LocalCluster(name, root, build_root=build_root, settings=settings, place=place)
        self._places = Places(self.cluster.files)
        self._root = Root(Path(build_root or root or DEFAULT_ROOT).absolute())

    def __enter__(self) -> Self:
        """Start; if that fails, stop again."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self, *, timeout: float = 180.0) -> None:
        """Build missing programs, start the control plane and the node, and wait until the node accepts pods.

        Raises:
            ClusterError: This machine cannot run a real node, or a part did not start; the message says which.

        """
        check_machine()
        programs = build(self._root)
        deadline = time.monotonic() + timeout
        with locked(self._lock()):
            network.up(self._places)
            self._make_certificates(programs)
            self.cluster.start(timeout=timeout)
            leftovers.make_cgroup(self._places.cgroup)
            # users of containers read what containerd and the kubelet create
            with readable_by_others():
                self._start_daemons(programs, deadline)

    def stop(self) -> None:
        """Stop the node, its pods and the control plane, and undo their changes to the machine.

        The control plane's objects are kept for the next start; the node's images are not.

        Raises:
            ClusterError: Something is still mounted that cannot be unmounted.

        """
        with locked(self._lock()):
            self._stop_daemons()
            self.cluster.stop()
            network.down(self._places)
            leftovers.remove_cgroup(self._places.cgroup)
            self._places.state.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another cluster's node is running
                self._places.run.parent.rmdir()

    def delete(self) -> None:
        """Stop the cluster and delete its data."""
        self.stop()
        self.cluster.delete()
        self._lock().unlink(missing_ok=True)

    def load_image(self, archive: Path) -> None:
        """Load an image from an archive, as written by `docker save` and `buildah push … docker-archive:`.

        Raises:
            ClusterError: The archive is not an image, or the node is not running.

        """
        programs = build(self._root)
        self._ctr(programs, "images", "import", str(archive))

    # The following methods are called with the lock held.

    def _make_certificates(self, programs: Programs) -> None:
        self.cluster.build()
        self.cluster.make_certificates()
        files = self._places.files
        if all(files.certificate(name).exists() for name in ("apiserver-bridge", *USERS)):
            return  # if one is missing, because an older version created the cluster, all are created again
        done = subprocess.run(
            [programs.path("carillon-node"), "pki", f"--dir={files.pki}", f"--node={NODE_NAME}",
             f"--address={network.ADDRESS}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            message = f"The node's certificates could not be created in {files.pki}: {done.stderr.strip()}."
            raise ClusterError(message)

    def _start_daemons(self, programs: Programs, deadline: float) -> None:
        places, files = self._places, self._places.files
        state = State.read(places.state)
        if all(name in state.processes and state.processes[name].alive() for name in DAEMONS):
            return
        self._stop_daemons()
        dns.check_port()
        state = State(ports=ports.choose(config.PORTS, {}))
        config.write(places, programs, state.ports)
        for user in USERS:
            content = kubeconfig.render(self.cluster.name, self.cluster.api_url, files, user)
            write_atomically(files.kubeconfig_of(user), content)
        for given in (dns.rights(), volumes.make(places)):
            self.cluster.kubectl("apply", "--filename", "-", stdin=given)
        began = time.time()
        state = self._spawn("containerd", programs, state)
        self._await(deadline, "containerd to answer", lambda: self._answers(programs))
        pause = places.folder / "pause.tar"
        config.write_pause_image(programs.path("pause"), pause)
        self._ctr(programs, "images", "import", str(pause))
        state = self._spawn("coredns", programs, state)
        state = self._spawn("kubelet", programs, state)
        state = self._spawn("kube-proxy", programs, state)
        api = ApiServer(self.cluster.api_url, files)
        self._await(deadline, "the node to be ready", lambda: api.schedulable(NODE_NAME, began))
        self._await(deadline, "kube-proxy's rules", network.has_proxy_rules)
        self._await(deadline, "the cluster's DNS to answer", dns.answers)

    def _spawn(self, daemon: str, programs: Programs, state: State) -> State:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # containerd finds its shim in its own folder
        environment["PATH"] = f"{programs.folder}{os.pathsep}{environment.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        program = programs.path("containerd" if daemon == "containerd" else "carillon-node")
        log = self._places.files.log(daemon)
        if log.exists():
            log.replace(log.with_suffix(".old.log"))
        process = processes.spawn(program, config.arguments(daemon, self._places, state.ports), log, environment)
        started = State(ports=state.ports, processes={**state.processes, daemon: process})
        started.write(self._places.state)  # saved at once: otherwise the process could not be found and stopped
        return started

    def _stop_daemons(self) -> None:
        places = self._places
        known = State.read(places.state).processes
        # the kubelet first, or it would restart what ends here
        processes.stop([known[name] for name in ("kubelet", "kube-proxy", "coredns") if name in known], GRACE)
        shim = programs_of(self._root).path("containerd-shim-runc-v2")
        leftovers.end_pods(places.cgroup, str(shim), places.run)
        processes.stop([known[name] for name in ("containerd",) if name in known], GRACE)
        for name in ("containerd", "carillon-node"):  # processes whose record was lost
            processes.stop(processes.of_folder(name, places.folder), GRACE)
        leftovers.unmount_below(places.folder, places.run)
        leftovers.remove_links(places.folder)
        leftovers.remove_folders(places.folder, places.run)

    def _answers(self, programs: Programs) -> bool:
        try:
            self._ctr(programs, "version")
        except ClusterError:
            return False
        return True

    def _ctr(self, programs: Programs, *arguments: str) -> str:
        command = [str(programs.path("ctr")), f"--address={self._places.socket}", "--namespace=k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}."
            raise ClusterError(message)
        return done.stdout

    def _await(self, deadline: float, what: str, condition: Callable[[], bool]) -> None:
        def done_or_dead() -> bool:
            for name, process in State.read(self._places.state).processes.items():
                if not process.alive():
                    log = self._places.files.log(name)
                    message = f"{name} is not running; start the node again. The end of {log}:\n{end_of(log)}"
                    raise PartDiedError(message)
            return condition()

        if not processes.wait_until(done_or_dead, deadline - time.monotonic(), every=0.1):
            logs = self._places.files.log("x").parent
            message = f"The node did not become ready in time, waiting for {what}; see the logs in {logs}."
            raise StartTimeoutError(message)

    def _lock(self) -> Path:
        return self._places.files.path.parent / f".{self.cluster.name}-real.lock"
