"""The end of kopf: if one of its tasks fails, the operator learns of it, even if other tasks hang."""

import asyncio
from contextlib import suppress

import pytest

from carillon_operator.gather import kopf_thread
from carillon_operator.gather.handlers import kopf_settings
from carillon_operator.gather.kopf_thread import until_ended


async def _fails() -> None:
    raise ConnectionError("the watch was answered with 410")


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _unmoved(released: asyncio.Event) -> None:
    while not released.is_set():
        with suppress(asyncio.CancelledError):
            await released.wait()


def test_kopf_does_not_kill_the_process() -> None:
    """Its watchdog would kill it ten minutes after a failure, when the process continues without that kopf."""
    assert kopf_settings().process.ultimate_exiting_timeout is None


async def test_a_task_that_fails_ends_the_others() -> None:
    """Its failure is raised."""
    other = asyncio.ensure_future(_for_ever())
    with pytest.raises(ConnectionError, match="410"):
        await until_ended([asyncio.ensure_future(_fails()), other], asyncio.all_tasks())
    assert other.cancelled()


async def test_a_task_that_swallows_its_cancellation_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch of kopf sometimes does that; the failure of the first task is still raised and logged."""
    monkeypatch.setattr(kopf_thread, "ENDING_SECONDS", 0.05)
    released = asyncio.Event()
    unmoved = asyncio.ensure_future(_unmoved(released))
    ours = asyncio.all_tasks()
    with pytest.raises(ConnectionError, match="410"):
        await until_ended([asyncio.ensure_future(_fails()), unmoved], ours)
    assert not unmoved.done()
    assert "kopf does not end" in caplog.text
    released.set()
    await unmoved
    with suppress(ConnectionError):
        await asyncio.gather(*(asyncio.all_tasks() - ours))  # kopf's own wait is over now, too


async def test_a_task_that_ends_in_peace_ends_all_in_peace() -> None:
    """This is how kopf is stopped."""
    other = asyncio.ensure_future(_for_ever())
    await until_ended([asyncio.ensure_future(asyncio.sleep(0)), other], asyncio.all_tasks())
    assert other.cancelled()
