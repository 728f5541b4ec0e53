"""What the annotation of a retried Job may say: everybody who may write Jobs can write it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.domain.observed.retries import MOST_EARLIER, MOST_OF_A_MESSAGE, Retries, after, parse_retries
from carillon_core.resources.tasks import RetryPolicy

GOOD: dict[str, Any] = {"retry": {"limit": 2}, "timeoutSeconds": 60}
END = {"pod": "a-1", "finishedAt": "2026-01-01T00:00:35Z", "exitCode": 3, "reason": "Error", "message": "out of paper"}


def test_what_the_operator_writes_is_read_as_it_was() -> None:
    """With as many ends and as much text as it writes at most."""
    pods = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a", "operator": "Exists"}]}
    first = Retries.first(RetryPolicy(limit=20), 3600, pods, queued=True)
    (end,) = (parse_retries(json.dumps({**GOOD, "earlier": [END]})) or first).earlier
    later = first.followed([end] * (MOST_EARLIER + 5), datetime(2026, 1, 1, tzinfo=UTC), 1800)
    assert parse_retries(first.encoded()) == first
    assert parse_retries(later.encoded()) == later
    assert (len(later.earlier), later.forgotten) == (MOST_EARLIER, 5)


@pytest.mark.parametrize("character", ["x", '"', "\u001b", "\N{BELL}"])
def test_however_long_messages_are_what_is_written_is_read(character: str) -> None:
    """Of more than an annotation has room for, the oldest ends are forgotten, and are counted."""
    end = PodEnd(succeeded=False, finished_at=None, exit_code=3, message=character * 600, pod_name="p" * 253)
    pods = {"nodeSelector": {f"{'k' * 60}{n:03}": "v" * 63 for n in range(64)}, "tolerations": []}
    first = Retries.first(RetryPolicy(limit=20), 3600, pods, queued=True)
    read = parse_retries(first.followed([end] * MOST_EARLIER, datetime(2026, 1, 1, tzinfo=UTC), 60).encoded())
    assert read is not None
    assert len(read.earlier) + read.forgotten == MOST_EARLIER
    assert len(read.earlier) > 10
    assert read.placement == pods


@pytest.mark.parametrize(
    "told",
    {
        "more ends than are kept": {"earlier": [{}] * (MOST_EARLIER + 1)},
        "ends by name": {"earlier": {"a": {}}},
        "an end that is none": {"earlier": [7]},
        "an exit code that no process has": {"earlier": [{"exitCode": 10**12}]},
        "a time that is far": {"begunAt": "9999-12-31T23:59:59Z"},
        "a time-out that is far": {"timeoutSeconds": 10**15},
        "a time-out in words": {"timeoutSeconds": "60"},
        "as many pods as nobody has": {"forgotten": 2**40},
        "a policy that the CRD refuses": {"retry": {"limit": 21}},
        "tolerations that are none": {"placement": {"tolerations": [{"key": []}]}},
        "more than the API server keeps": {"x": "y" * 300_000},
    }.items(),
    ids=lambda case: case[0],
)
def test_what_the_operator_cannot_have_written_is_nothing(told: tuple[str, dict[str, Any]]) -> None:
    """The execution is not retried then."""
    assert parse_retries(json.dumps(GOOD)) is not None
    assert parse_retries(json.dumps(GOOD | told[1])) is None


def test_only_what_a_queue_may_change_is_put_back() -> None:
    """Otherwise the pod would be whatever the annotation says, created by the operator."""
    placement = {"nodeSelector": {"disk": "ssd"}, "hostNetwork": True, "serviceAccountName": "admin"}
    read = parse_retries(json.dumps({**GOOD, "placement": placement}))
    assert read is not None
    assert read.placement == {"nodeSelector": {"disk": "ssd"}}


def test_texts_are_cut() -> None:
    """They are kept for as long as the Job."""
    read = parse_retries(json.dumps({**GOOD, "earlier": [{"message": "x" * 5000, "reason": 5}]}))
    assert read is not None
    assert (read.earlier[0].message, read.earlier[0].reason) == ("x" * MOST_OF_A_MESSAGE, "")


def test_a_time_is_never_too_late() -> None:
    """Those of pods can be forged, too."""
    policy = RetryPolicy(limit=1, initial_delay_seconds=86_400, jitter=0)
    retries = Retries(policy=policy, timeout_seconds=60)
    last = datetime.max.replace(tzinfo=UTC)
    assert retries.next_at(1, "x", last) == last
    assert after(datetime(2026, 1, 1, tzinfo=UTC), last - last) == datetime(2026, 1, 1, tzinfo=UTC)
