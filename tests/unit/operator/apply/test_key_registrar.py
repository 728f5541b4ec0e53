"""The key of the runners' tokens is registered whenever the database is available."""

import asyncio
import logging

import pytest

from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_operator.apply import key_registrar
from carillon_operator.apply.key_registrar import KeyRegistrar
from support.operator import running

KEY = TokenKey(b"k" * 32)


class Keys(MemoryRunnerKeys):
    """Signals each call."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Queue[None]()
        self.defect: Exception | None = None

    async def register(self, key: TokenKey) -> None:
        self.asked.put_nowait(None)
        if self.defect is not None:
            raise self.defect
        await super().register(key)


async def test_a_key_is_registered_again_and_again() -> None:
    """Unused keys expire."""
    keys = Keys()
    async with running(KeyRegistrar(keys, KEY, 0).run()):
        for _ in range(3):
            await asyncio.wait_for(keys.asked.get(), 5)
    assert set(keys.registered) == {KEY.id}


@pytest.mark.parametrize("defect", [None, RuntimeError("a defect")])
async def test_a_database_that_is_away_is_tried_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, defect: Exception | None
) -> None:
    """One line reports the outage, and one its end; a bug does not end it either, and is logged with its traceback."""
    monkeypatch.setattr(key_registrar, "RETRY_SECONDS", 0)
    caplog.set_level(logging.INFO)
    keys = Keys()
    keys.outage, keys.defect = "gone", defect
    async with running(KeyRegistrar(keys, KEY, 0).run()):
        for _ in range(3):
            await asyncio.wait_for(keys.asked.get(), 5)
        assert not keys.registered
        keys.outage = keys.defect = None
        while not keys.registered:
            await asyncio.wait_for(keys.asked.get(), 5)
    later, done = (record.message for record in caplog.records if record.name == key_registrar.__name__)
    assert (later, done) == ("token signing key not registered, trying again", "token signing key registered")
    assert (caplog.records[0].exc_info is not None) is (defect is not None)
