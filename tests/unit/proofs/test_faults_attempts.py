"""The oracle of ``make faults`` on attempts of containers, each of which is a Job."""

from __future__ import annotations

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.execution import job_name, later_job_names
from faults.verdict.pulses import Pulse
from faults.verdict.seen import JobSeen
from support.fault_worlds import UID, WorldBuilder, after

RETRY = {"limit": 2, "initialDelaySeconds": 1, "factor": 1, "jitter": 0}


def retried(*attempts: tuple[int, float, float | None], status: str = "succeeded") -> WorldBuilder:
    """Return a world in which the slot at two seconds had these attempts: the number, the begin and the end of each."""
    builder = WorldBuilder({"container": {"image": "busybox"}}, retry=RETRY)
    builder.without(2, hit=False).without(4).without(6)
    names = [job_name("api", after(2)), *later_job_names(job_name("api", after(2)), after(2), Cause.SCHEDULE, 1)]
    for number, begin, end in attempts:
        uid, ended = f"uid-{number}-{begin}", None if end is None else after(end)
        builder.jobs.append(
            JobSeen(names[number - 1], uid, "api", UID, after(2), after(begin), ended, last_end_at=ended)
        )
    last = max((end for _, _, end in attempts if end is not None), default=2)
    builder.row(2, status, at=last - 2)
    builder.having(
        pulses=[Pulse("api", names[attempts[-1][0] - 1], after(last - 0.2), after(last), status == "succeeded")]
    )
    for seconds in (4, 6):
        builder.row(seconds, "skipped", "StillActive", at=0.1)
    return builder


ATTEMPTS: dict[str, tuple[WorldBuilder, str]] = {
    "each after its wait": (retried((1, 2.1, 2.5), (2, 3.6, 4), (3, 5.1, 6.5)), ""),
    "a wait too short": (retried((1, 2.1, 2.5), (2, 2.9, 6.5)), "the wait is 1 s"),
    "two at once": (retried((1, 2.1, None), (2, 3.6, 6.5)), "was never seen to end"),
    "one left out": (retried((1, 2.1, 2.5), (3, 4.6, 6.5)), "do not follow each other"),
    "one twice": (retried((1, 2.1, 2.5), (2, 3.6, 4), (2, 5.1, 6.5)), "do not follow each other"),
    "one too many": (retried((1, 2.1, 2.2), (2, 3.3, 3.4), (3, 4.5, 4.6), (4, 5.7, 6.5)), "is not this task's"),
    "one after the end": (
        retried((1, 2.1, 2.5), (2, 5.1, 6.5)).without(2, job=False).row(2, "cancelled", at=0.6),
        "after the execution had ended",
    ),
}


@pytest.mark.parametrize(("builder", "want"), ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_attempts_follow_each_other_after_their_waits(builder: WorldBuilder, want: str) -> None:
    """All of them are one execution, which is active from the first to the last."""
    found = builder.violations()
    assert any(want in violation for violation in found) if want else found == [], found


def test_no_other_slot_is_launched_between_two_attempts() -> None:
    """The execution is active in its wait."""
    builder = retried((1, 2.1, 2.5), (2, 5.1, 6.5)).without(4)
    builder.ran(4)
    assert any("overlap" in violation for violation in builder.violations())
