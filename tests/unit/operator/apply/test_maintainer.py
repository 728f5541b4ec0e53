"""The operator's maintenance of the history: its schedule, its retention and its months."""

import asyncio
import logging

import pytest

from carillon_core.adapters.postgres.months import Month
from carillon_core.errors import SettingsError, UnavailableError
from carillon_core.settings import HistorySettings
from carillon_operator.apply.maintainer import Maintainer
from support.waiting import eventually

OUTCOMES: dict[str, tuple[Exception | None, str | None]] = {
    "all is well": (None, None),
    "the database is away": (UnavailableError("database", "connection refused"), "maintenance postponed"),
    "the maintenance has a defect": (ValueError("no such month"), "maintenance failed"),
}


@pytest.mark.parametrize(("error", "want_log"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_it_goes_on_whatever_happens(
    error: Exception | None, want_log: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It starts at once, repeats, logs errors, and never ends by itself."""
    calls = 0

    async def maintain() -> None:
        nonlocal calls
        calls += 1
        if error is not None:
            raise error

    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(Maintainer(maintain, interval_seconds=0, retry_seconds=0).run())
        await eventually(lambda: calls > 2)
    assert not running.done()
    running.cancel()
    assert {record.getMessage() for record in caplog.records} == ({want_log} if want_log else set())


@pytest.mark.parametrize(
    ("fails", "want"), [pytest.param(True, "retry", id="a failure"), pytest.param(False, "interval", id="a success")]
)
async def test_the_next_time_comes_sooner_after_a_failure(fails: bool, want: str) -> None:  # noqa: FBT001  # a row's cell
    """One wait is endless in this test, the other zero: it repeats only after the right result."""
    calls = 0

    async def maintain() -> None:
        nonlocal calls
        calls += 1
        if fails:
            raise UnavailableError("database", "a table is locked")

    waits = {"retry_seconds": 3600.0, "interval_seconds": 3600.0, f"{want}_seconds": 0.0}
    running = asyncio.create_task(Maintainer(maintain, **waits).run())
    await eventually(lambda: calls > 1)
    running.cancel()


DAYS: dict[str, tuple[str, int]] = {
    "unset": ("", 400),
    "a number": ("30", 30),
    "for ever": ("0", 0),
}


@pytest.mark.parametrize(("text", "want"), DAYS.values(), ids=DAYS.keys())
def test_the_retention_is_read(text: str, want: int) -> None:
    """It is in days; the default is a little more than a year."""
    given = HistorySettings.from_env({"CARILLON_HISTORY_RETENTION_DAYS": text})
    assert given.history_retention_days == want


@pytest.mark.parametrize("text", ["-1", "a year", "1.5", "36501"])
def test_a_retention_that_is_none_is_a_setting_to_mend(text: str) -> None:
    """The message names the variable and the bounds."""
    with pytest.raises(SettingsError, match=r"^CARILLON_HISTORY_RETENTION_DAYS: must be a number from 0 to 36500 "):
        HistorySettings.from_env({"CARILLON_HISTORY_RETENTION_DAYS": text})


MONTHS: dict[str, tuple[Month, int, Month]] = {
    "the next year": (Month(2026, 12), 1, Month(2027, 1)),
    "the year before": (Month(2026, 1), -1, Month(2025, 12)),
    "a year on": (Month(2026, 5), 12, Month(2027, 5)),
    "beyond the calendar": (Month(9999, 12), 1, Month(10000, 1)),
}


@pytest.mark.parametrize(("month", "steps", "want"), MONTHS.values(), ids=MONTHS.keys())
def test_months_are_counted(month: Month, steps: int, want: Month) -> None:
    """This includes the ends of years."""
    assert month.after(steps) == want
