"""Runs all of Carillon together with Kueue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.kueue import Kueue
from support.stack_fixtures import namespace, stack

if TYPE_CHECKING:
    from support.stack import Stack

__all__ = ["namespace", "stack"]


@pytest.fixture(scope="session")
def kueue(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kueue]:
    """Run the Kueue manager as an administrator until the session ends."""
    running = Kueue(stack, tmp_path_factory.mktemp("kueue"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
