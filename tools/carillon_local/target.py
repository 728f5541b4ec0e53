"""The cluster of ``make run``: an existing one, kind if it and Docker are available, else the local cluster."""

import compileall
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from carillon_devcluster import ClusterError, LocalCluster
from carillon_local.layout import KUBECONFIG, POSTGRES, ROOT, RUNNER_IMAGE, SHELL_IMAGE, STATE, LocalError
from container_engine import answers
from embedded_postgres import EmbeddedPostgres
from postgres_programs import PostgresError

KIND_NAME = "carillon"
KIND_NETWORK_DATABASE = "carillon-postgres"


class Target(Protocol):
    """A cluster, and a database that its pods can reach."""

    kubeconfig: Path

    def start(self) -> None:
        """Start both; repeated calls are fast."""
        ...

    def settings(self) -> Mapping[str, str]:
        """Return ``DATABASE_URL`` and the operator's other settings."""
        ...

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl against the cluster and return its output."""
        ...

    def stop(self) -> None:
        """Stop both, if ``start`` started them; keep the data."""
        ...


def local_image_table() -> dict[str, dict[str, object]]:
    """Return the images of the local cluster's node: the runner of this checkout, and the example's shell.

    The runner's modules are compiled here, because its containers cannot write to
    the checkout if the node is root and they are not.
    """
    python = str(ROOT / ".venv" / "bin" / "python")
    for source in ("core", "runner"):
        compileall.compile_dir(ROOT / source, quiet=2)
    return {
        # this checkout, and its Python, may be in a folder that is closed to the runner's user
        RUNNER_IMAGE: {"entrypoint": [python, "-m", "carillon_runner"], "env": {}, "workingDir": "/", "readsAll": True},
        # images are not unpacked: a command runs with the programs of this machine
        SHELL_IMAGE: {"entrypoint": [], "env": {}, "workingDir": ""},
    }


def _embedded_database_url() -> str:
    try:
        return EmbeddedPostgres(POSTGRES).start()
    except PostgresError as error:
        raise LocalError(str(error)) from error


@dataclass
class LocalTarget:
    """The local cluster, and the embedded Postgres unless ``DATABASE_URL`` is set."""

    cluster: LocalCluster = field(default_factory=lambda: LocalCluster(root=STATE))
    kubeconfig: Path = KUBECONFIG

    def start(self) -> None:
        """Start the cluster; the database is started by ``settings``."""
        try:
            self.cluster.set_images(local_image_table())
            self.cluster.start(kubeconfig=self.kubeconfig, out=sys.stdout)
        except ClusterError as error:
            raise LocalError(str(error)) from error

    def settings(self) -> Mapping[str, str]:
        """Return the database's URL, the runner's image, and permission for HTTP tasks to call this machine."""
        return {
            "DATABASE_URL": os.environ.get("DATABASE_URL") or _embedded_database_url(),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            # pods are processes of this machine and share its loopback interface, where httpbin listens
            "CARILLON_HTTP_ALLOW": os.environ.get("CARILLON_HTTP_ALLOW") or "127.0.0.0/8,::1",
        }

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the cluster's own kubectl."""
        try:
            return self.cluster.kubectl(*arguments, stdin=stdin)
        except ClusterError as error:
            raise LocalError(str(error)) from error

    def stop(self) -> None:
        """Stop the cluster and the embedded Postgres."""
        self.cluster.stop()
        EmbeddedPostgres(POSTGRES).stop()


@dataclass
class ExistingTarget:
    """The user's own cluster; its pods must be able to pull the runner's image and to reach the database."""

    kubeconfig: Path

    def start(self) -> None:
        """Check that it responds."""
        if not self.kubeconfig.is_file():
            raise LocalError(f"KUBECONFIG_EXISTING: {self.kubeconfig} is not a file: correct the path")
        self.kubectl("get", "--raw", "/readyz")

    def settings(self) -> Mapping[str, str]:
        """Return the two settings that the user must provide."""
        wanted = {
            "DATABASE_URL": "a Postgres that this machine and the cluster's pods can reach",
            "CARILLON_RUNNER_IMAGE": "an image built from Dockerfile.runner that the cluster can pull",
        }
        for name, meaning in wanted.items():
            if not os.environ.get(name):
                raise LocalError(f"{name}: must be set with KUBECONFIG_EXISTING, to {meaning}")
        return {name: os.environ[name] for name in wanted}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the kubectl on the path, or that of the local cluster if it was built."""
        built = STATE / "bin" / "carillon-devcluster"
        command = ["kubectl"] if shutil.which("kubectl") else [str(built), "kubectl"]
        if command[0] != "kubectl" and not built.exists():
            raise LocalError("kubectl is not on the path: install it, or run `make setup`")
        return _run(*command, "--kubeconfig", str(self.kubeconfig), *arguments, stdin=stdin)

    def stop(self) -> None:
        """Do nothing: the cluster is not ours."""


@dataclass
class KindTarget(ExistingTarget):
    """A kind cluster, with Postgres in a container on kind's network."""

    kubeconfig: Path = KUBECONFIG

    def start(self) -> None:
        """Create the cluster, build and load the runner's image, start Postgres."""
        if KIND_NAME not in _run("kind", "get", "clusters").split():
            options = ("--wait", "180s", "--kubeconfig", str(self.kubeconfig))
            _run("kind", "create", "cluster", "--name", KIND_NAME, *options)
        else:
            _run("kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", str(self.kubeconfig))
        _run("docker", "build", "--file", str(ROOT / "Dockerfile.runner"), "--tag", RUNNER_IMAGE, str(ROOT))
        _run("kind", "load", "docker-image", RUNNER_IMAGE, "--name", KIND_NAME)
        if not _run("docker", "ps", "--quiet", "--filter", f"name=^{KIND_NETWORK_DATABASE}$").strip():
            _run("docker", "rm", "--force", KIND_NETWORK_DATABASE)
            detached = ("--detach", "--network", "kind", "--env", "POSTGRES_PASSWORD=carillon")
            _run("docker", "run", "--name", KIND_NETWORK_DATABASE, *detached, "postgres:18")

    def settings(self) -> Mapping[str, str]:
        """Return the database's URL with its address on kind's network, which this machine and the pods can reach."""
        template = '{{(index .NetworkSettings.Networks "kind").IPAddress}}'
        address = _run("docker", "inspect", "--format", template, KIND_NETWORK_DATABASE).strip()
        url = f"postgresql://postgres:carillon@{address}:5432/postgres"
        return {"DATABASE_URL": os.environ.get("DATABASE_URL") or url, "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE}

    def stop(self) -> None:
        """Delete the cluster and the database's container."""
        _run("kind", "delete", "cluster", "--name", KIND_NAME)
        _run("docker", "rm", "--force", KIND_NETWORK_DATABASE)


def chosen_target() -> Target:
    """Return the cluster to use, according to the environment and the available programs."""
    existing = os.environ.get("KUBECONFIG_EXISTING")
    if existing:
        return ExistingTarget(Path(existing).expanduser().absolute())
    return KindTarget() if kind_is_there() else LocalTarget()


def kind_is_there() -> bool:
    """Return whether kind is installed and a Docker engine responds."""
    return shutil.which("kind") is not None and answers("docker")


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
    if done.returncode:
        raise LocalError(f"`{' '.join(command[:3])} …` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
