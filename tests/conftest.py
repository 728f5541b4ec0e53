"""Fixtures of the tests; each starts its services only when it is used. Unit tests do not import them."""

from __future__ import annotations

import functools
import gc
import hashlib
from typing import TYPE_CHECKING

import pytest

from support.lanes import Lanes

if TYPE_CHECKING:
    from xdist.remote import Producer

FIXTURES = ("support.cluster", "support.postgres", "support.recorder", "support.runner")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures of real services, unless only unit tests run: importing them takes a second.

    Until everything is collected, nothing becomes garbage that is worth looking for.
    """
    gc.disable()
    # it is slow by design, and asked for the key of the same password by each test that reads an operator's settings
    hashlib.scrypt = functools.cache(hashlib.scrypt)  # type: ignore[assignment]  # the cache forgets the signature
    if any(not argument.startswith("tests/unit") for argument in config.args):
        for module in FIXTURES:
            config.pluginmanager.import_plugin(module)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among what was imported and collected: to look at it took seconds."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)  # a test runs pytest without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes | None:
    """For ``--dist loadfile``, distribute whole files as ``support.lanes`` does."""
    return Lanes(config, log) if config.getoption("dist") == "loadfile" else None
