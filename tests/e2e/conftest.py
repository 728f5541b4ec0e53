"""The whole of Carillon, once for all end-to-end tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from httpbin import app as httpbin_app
from werkzeug.serving import make_server

from carillon_core.adapters.postgres import migrate
from carillon_devcluster import LocalCluster
from embedded_postgres import EmbeddedPostgres
from support.stack import ROOT, Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def stack(passable_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a cluster and a Postgres of its own, the operator and the API; everything ends with the session."""
    postgres = EmbeddedPostgres(passable_dir() / "postgres", fast=True)
    cluster = LocalCluster("e2e", passable_dir(), build_root=ROOT / ".carillon")
    cluster.build()
    try:
        migrate.upgrade(postgres.start())
        cluster.start()
        running = Stack(cluster, postgres, tmp_path_factory.mktemp("stack"))
        try:
            running.start()
            yield running
        finally:
            running.close()
    finally:
        cluster.stop()
        cluster.delete()
        postgres.stop()


@pytest.fixture
def namespace(stack: Stack) -> Iterator[str]:
    """Give a namespace of the test's own."""
    name = f"e2e-{uuid4().hex[:8]}"
    stack.kubectl("create", "namespace", name)
    yield name
    stack.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def shared_namespace(stack: Stack) -> Iterator[str]:
    """Give a namespace that the tests of a module share: what they wait for happens at the same time."""
    name = f"e2e-{uuid4().hex[:8]}"
    stack.kubectl("create", "namespace", name)
    yield name
    stack.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def httpbin_url() -> Iterator[str]:
    """Serve a real httpbin on loopback."""
    server = make_server("127.0.0.1", 0, httpbin_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
