"""One real local cluster for all tests here, with its own state root, which uses the built program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT
from devcluster.cluster_help import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def build_root() -> Path:
    """Return the state root with the program, which is built if necessary."""
    LocalCluster().build()
    return DEFAULT_ROOT


@pytest.fixture(scope="session")
def cluster(build_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return a running cluster with one image: a shell that takes its script as an argument."""
    made = LocalCluster("shared", tmp_path_factory.mktemp("root"), build_root=build_root)
    made.set_images(IMAGES)
    try:
        with made:
            yield made
    finally:
        made.delete()
