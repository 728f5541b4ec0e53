"""The janitor: several deletions at a time, none of which waits for another."""

import asyncio

import pytest

from carillon_core.errors import UnavailableError
from support.operator import Operator, running
from support.waiting import eventually


async def test_a_deletion_that_hangs_or_fails_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hangs and one finds the API server unavailable; the one after them is made."""
    operator = Operator()
    asked: list[str] = []

    async def delete_job(_namespace: str, name: str, _uid: str) -> None:
        asked.append(name)
        if name == "hangs":
            await asyncio.Event().wait()
        if name == "fails":
            raise UnavailableError("API server", "refused")

    monkeypatch.setattr(operator.cluster, "delete_job", delete_job)
    async with running(operator.term.janitor.run()):
        for name in ("hangs", "fails", "goes"):
            operator.term.janitor.delete_job("default", name, name)
        await eventually(lambda: "goes" in asked)
    assert asked.count("fails") == 1, "it is tried again after a while, not at once"
