"""Cron as in Kubernetes' CronJob: compared with the results of its parser for a few hundred expressions."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from carillon_core.domain.timetable.schedule import InvalidScheduleError, cron_schedule, fire_times

AFTER = datetime(2024, 1, 1, tzinfo=UTC)


class Line(NamedTuple):
    """The result of CronJob's parser for one expression; proofs/truth/cronjob writes the file."""

    expression: str
    times: list[datetime]
    error: str


def cronjob_lines() -> list[Line]:
    """Read the file."""
    lines = Path(__file__).with_name("cronjob_times.jsonl").read_text().splitlines()
    raw = [json.loads(line) for line in lines]
    return [
        Line(r["expression"], [datetime.fromisoformat(t) for t in r.get("times", ())], r.get("error", "")) for r in raw
    ]


ACCEPTED = [line for line in cronjob_lines() if not line.error]
REFUSED_HERE = {
    "0 0 30 2 *": "never fires",
    "0 0 */31 * Mon": "the step /31 must be less than",
    "0 0 */40 * Mon": "the step /40 must be less than",
    "0 0 * * */7": "the step /7 must be less than",
    "*/90 * * * *": "the step /90 must be less than",
    "+5 * * * *": "'+5' is not a number",
    "1,,2 * * * *": "a value is missing",
    ", * * * *": "a value is missing",
    "*-5 * * * *": "'*' is not a number",
    "? ? * * *": "? is only allowed in day of month and day of week: write *",
    "0 ? * * *": "? is only allowed in day of month and day of week: write *",
    "0 0 * ? *": "? is only allowed in day of month and day of week: write *",
    "@every 1h": "use spec.intervalSeconds: 3600 instead of spec.schedule",
    "@every 90s": "use spec.intervalSeconds: 90 instead of spec.schedule",
    "CRON_TZ=UTC 0 3 * * *": "set spec.timeZone to UTC and write only '0 3 * * *' in spec.schedule",
    "TZ=UTC 0 3 * * *": "set spec.timeZone to UTC and write only '0 3 * * *' in spec.schedule",
}
"""Expressions that CronJob's parser accepts and that are refused here, with the reason."""


def test_the_table_is_worth_holding_to() -> None:
    """It has a few hundred expressions that fire, and some thousand times."""
    assert len(ACCEPTED) > 400
    assert sum(len(line.times) for line in ACCEPTED) > 2500


@pytest.mark.parametrize("line", ACCEPTED, ids=[line.expression for line in ACCEPTED])
def test_what_a_cronjob_accepts_fires_at_its_times_or_is_refused_with_the_reason(line: Line) -> None:
    """CronJob's parser looks at most five years ahead, so it may list fewer times."""
    if line.expression in REFUSED_HERE:
        with pytest.raises(InvalidScheduleError) as refusal:
            cron_schedule(line.expression)
        assert REFUSED_HERE[line.expression] in str(refusal.value)
        return
    assert fire_times(cron_schedule(line.expression), AFTER, len(line.times)) == line.times
    assert line.times != []


EVERY = {
    "1h": "3600",
    "1h30m": "5400",
    "1.5h": "5400",
    "2m0.5s": "120",
    "300ms": "1",
    "1000000us": "1",
    "2000000µs": "2",
    "-1h": "1",
    "8784h": "31622400",
}


@pytest.mark.parametrize(("duration", "seconds"), EVERY.items())
def test_an_interval_in_a_cron_expression_is_sent_to_its_field(duration: str, seconds: str) -> None:
    """This holds for any Go duration; the seconds are those of CronJob."""
    with pytest.raises(InvalidScheduleError, match=rf"use spec\.intervalSeconds: {seconds} instead of spec\.schedule$"):
        cron_schedule(f"@every {duration}")


REFUSED = {
    "an interval that is no duration": ("@every day", r"use spec\.intervalSeconds with a number of seconds"),
    "an interval beyond the field's maximum": ("@every 9000h", r"spec\.intervalSeconds \(at most 31622400"),
    "a zone": ("CRON_TZ=Asia/Tokyo 0 9 * * *", r"set spec\.timeZone to Asia/Tokyo and write only '0 9 \* \* \*'"),
    "an empty zone": ("TZ= @daily", r"set spec\.timeZone and write only '@daily'"),
    "days before the last": ("0 0 L-3 * *", r"day of month \('L-3' is not supported: write L for the last day"),
    "the nearest weekday": ("0 0 15W * *", r"day of month \('15W' is not supported: write L for the last day"),
    "the last day of the week": ("0 0 * * L", r"day of week \('L' is not supported: write 5L for the last Friday"),
    "the last Friday by name": ("0 0 * * FRIL", r"day of week \('FRIL' is not supported: write 5L for the last Friday"),
}


@pytest.mark.parametrize(("expression", "want"), REFUSED.values(), ids=REFUSED.keys())
def test_what_other_schedulers_read_is_refused_with_what_to_write(expression: str, want: str) -> None:
    """The message names the field and the equivalent to write."""
    with pytest.raises(InvalidScheduleError, match=want):
        cron_schedule(expression)


DEBIAN_DIFFERS = {
    "a step, which Debian takes for a star": ("0 0 */10 * MON", True),
    "a step of weekdays": ("0 0 13 * */2", True),
    "a star behind a value, which Debian does not see": ("0 0 1,* * MON", True),
    "a star": ("0 0 * * MON", False),
    "a question mark": ("0 0 ? * MON", False),
    "no star": ("0 0 13 * MON", False),
    "a step beside a star": ("0 0 */10 * *", False),
    "a step of one": ("0 0 */1 * MON", False),
    "a range of all days": ("0 0 1-31 * MON", False),
}


@pytest.mark.parametrize(("expression", "want"), DEBIAN_DIFFERS.values(), ids=DEBIAN_DIFFERS.keys())
def test_where_debian_would_run_on_other_days(expression: str, want: bool) -> None:  # noqa: FBT001  # a column of the table
    """The two readings differ only if a date matches just one of them."""
    assert cron_schedule(expression).cron.debian_runs_on_other_days is want
