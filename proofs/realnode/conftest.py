"""A real node with Carillon installed by Helm, shared by all tests here; `make e2e` builds the programs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from httpbin import app as httpbin_app
from werkzeug.serving import make_server

from carillon_devcluster.realnode import RealNode, network
from carillon_images.engines import STORE, find_engine
from embedded_postgres import EmbeddedPostgres
from realnode.release import IMAGES, Release
from support.recording_server import RecordingServer
from support.stack import ROOT

PLUGIN = Path(__file__).parent / "plugin"
PLUGIN_IMAGE = "localhost/carillon-runner-shouting:e2e"
REPORT = pytest.StashKey[list[str]]()


def pytest_sessionstart() -> None:
    """Stop the node on SIGTERM as on Ctrl-C: a node that is left running keeps the next from starting."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not interrupt the clean-up of the first
    raise KeyboardInterrupt


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Return the lines to print after all tests."""
    return request.config.stash.setdefault(REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the measurements."""
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("on a real node")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def node(passable_dir: Callable[[], Path]) -> Iterator[RealNode]:
    """Start a real node with our images; stopping it restores the state of the machine."""
    made = RealNode("e2e", passable_dir(), build_root=ROOT / ".carillon")
    before = machine()
    try:
        with made:
            for name in IMAGES:
                archive = STORE / f"carillon-{name}.tar"
                assert archive.exists(), f"{archive} is missing: run `make e2e`, which makes it"
                made.load_image(archive)
            yield made
    finally:
        made.delete()
    assert machine() == before


def machine() -> dict[str, list[str]]:
    """Return the machine state that a node changes: links, routes, rules, mounts, cgroups, kernel settings."""
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
def plugin_image(node: RealNode) -> str:
    """Build a runner image with a third-party task type and load it into the node."""
    engine = find_engine(os.environ.get("ENGINE", ""))
    engine.build(PLUGIN / "Dockerfile", PLUGIN_IMAGE, {"RUNNER": IMAGES["runner"]}, {}, context=PLUGIN)
    archive = STORE / "carillon-runner-shouting.tar"
    engine.archive(PLUGIN_IMAGE, archive)
    node.load_image(archive)
    archive.unlink()
    return PLUGIN_IMAGE


@pytest.fixture(scope="session")
def release(
    node: RealNode, passable_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """Install the chart; pods reach its empty database, outside the node, at the address of the bridge."""
    postgres = EmbeddedPostgres(passable_dir() / "postgres", fast=True)
    postgres.start()
    try:
        made = Release(node.cluster, postgres, tmp_path_factory.mktemp("release"))
        try:
            made.prepare()
            made.upgrade()
            yield made
        finally:
            made.close()
    finally:
        postgres.stop()


@pytest.fixture(scope="session")
def httpbin_url(node: RealNode) -> Iterator[str]:
    """Serve a real httpbin at an address that pods can reach."""
    assert node.cluster.api_url  # makes sure that the node and its bridge run
    server = make_server(network.ADDRESS, 0, httpbin_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{network.ADDRESS}:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def called(node: RealNode) -> Iterator[RecordingServer]:
    """Serve at an address that pods can reach, and record every request."""
    assert node.cluster.api_url  # makes sure that the node and its bridge run
    with RecordingServer(network.ADDRESS) as server:
        yield server


@pytest.fixture
def namespace(node: RealNode) -> str:
    """Create a namespace for one test; it is deleted with the cluster."""
    name = f"real-{uuid4().hex[:8]}"
    node.cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def restricted(release: Release) -> str:
    """Create a namespace for one test that only admits *restricted* pods; it is deleted with the cluster."""
    name = f"restricted-{uuid4().hex[:8]}"
    release.make_namespace(name)
    return name
