"""Fixtures that every test can ask for; nothing is started until one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.lanes import Lanes

if TYPE_CHECKING:
    from xdist.remote import Producer

pytest_plugins = ["support.cluster", "support.postgres", "support.runner"]


@pytest.hookimpl(optionalhook=True)  # a test runs pytest without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes | None:
    """For ``--dist loadfile``, share whole files out as ``support.lanes`` says."""
    return Lanes(config, log) if config.getoption("dist") == "loadfile" else None
