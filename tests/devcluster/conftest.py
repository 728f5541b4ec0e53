"""One real local cluster for all tests here, on a state root of its own that uses the built program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).resolve().parent
# The package as it is checked out, and this folder's helpers, however pytest is told to import.
sys.path[:0] = [str(HERE.parents[1] / "devcluster"), str(HERE)]

from cluster_help import IMAGES

from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def build_root() -> Path:
    """Return the state root with the program, built if need be."""
    LocalCluster().build()
    return DEFAULT_ROOT


@pytest.fixture(scope="session")
def cluster(build_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return a running cluster that knows one image: a shell that takes its script as an argument."""
    made = LocalCluster("shared", tmp_path_factory.mktemp("root"), build_root=build_root)
    made.set_images(IMAGES)
    try:
        with made:
            yield made
    finally:
        made.delete()
