"""Carillon's images on a real node, once for all tests here: `make e2e` builds what they need and runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from carillon_core import __version__
from carillon_core.adapters.postgres import migrate
from carillon_devcluster.realnode import RealNode, network
from embedded_postgres import EmbeddedPostgres
from support.runner import Forwarder
from support.stack import ROOT, Stack

IMAGES = {name: f"localhost/carillon-{name}:{__version__}" for name in ("operator", "runner")}


class RealStack(Stack):
    """The operator and the API as processes; the runners as containers of their image."""

    def start_operator(self, **settings: str) -> None:
        """Start the operator with the image that `make images` built."""
        super().start_operator(CARILLON_RUNNER_IMAGE=IMAGES["runner"], **settings)


@pytest.fixture(scope="session")
def node(passable_dir: Callable[[], Path]) -> Iterator[RealNode]:
    """Start a real node that has our images; when it has stopped the machine is as it was."""
    made = RealNode("e2e", passable_dir(), build_root=ROOT / ".carillon")
    before = machine()
    try:
        with made:
            for name in IMAGES:
                archive = ROOT / ".carillon" / "images" / f"carillon-{name}.tar"
                assert archive.exists(), f"{archive} is missing: run `make e2e`, which makes it"
                made.load_image(archive)
            yield made
    finally:
        made.delete()
    assert machine() == before


def machine() -> dict[str, list[str]]:
    """Return what a node changes on a machine: links, routes, rules, mounts, cgroups, kernel settings."""
    commands = {
        "links": ["ip", "-brief", "link", "show", "type", "bridge"],
        "routes": ["ip", "route", "show", "root", network.SUBNET],
        "rules": ["nft", "list", "tables"],
        "mounts": ["findmnt", "--raw", "--noheadings", "--output", "TARGET"],
        "cgroups": ["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", "carillon-*"],
        "kernel": ["grep", "", *(str(path) for name in network.KERNEL if (path := network.SETTINGS / name).exists())],
    }
    return {
        name: sorted(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())
        for name, command in commands.items()
    }


@pytest.fixture(scope="session")
def stack(
    node: RealNode, passable_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealStack]:
    """Start Postgres, the operator and the API beside the node; pods reach Postgres at the bridge's address."""
    postgres = EmbeddedPostgres(passable_dir() / "postgres", fast=True)
    try:
        migrate.upgrade(postgres.start())
        running = RealStack(node.cluster, postgres, tmp_path_factory.mktemp("stack"))
        way = Forwarder(running.runner_database_url, network.ADDRESS)
        way.open()
        running.runner_database_url = way.url
        try:
            running.start()
            yield running
        finally:
            running.close()
            way.close()
            way.give_back()
    finally:
        postgres.stop()


@pytest.fixture
def namespace(node: RealNode) -> str:
    """Give a namespace of the test's own; it goes with the cluster."""
    name = f"real-{uuid4().hex[:8]}"
    node.cluster.kubectl("create", "namespace", name)
    return name
