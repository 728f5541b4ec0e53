"""What becomes of a request's body before anyone has verified its token."""

import json
import tracemalloc
from typing import Any

import pytest

from carillon_core.recording.wire import MAX_BODY_BYTES, Operation
from carillon_recorder.operations import MOST_ATTEMPTS, work_of
from carillon_recorder.refusals import RefusedRequestError

MANY_KEYS = b"{" + b",".join(b'"%x":0' % number for number in range(400_000)) + b"}"
ATTEMPT = {
    "number": 1,
    "status": "failed",
    "reason": "Error",
    "error": "[{,]" * 256,
    "started_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:00Z",
    "status_code": 503,
    "response_time_ms": 12.5,
}


def saving(**more: Any) -> bytes:
    """Return the body of an operation that saves attempts."""
    return json.dumps({"pod": "x", "attempts": [], **more}).encode()


HOSTILE = {
    "keys that nobody knows": MANY_KEYS,
    "keys that nobody knows in an attempt": b'{"pod":"x","attempts":[' + MANY_KEYS + b"]}",
    "brackets": b'{"pod":' + b"[" + b"[]," * 1_000_000 + b"[]]}",
    "strings": b'{"pod":"' + b"," * 10_000 + b'"' + b'""' * 1_900_000,
    "as many wrong attempts as may be": saving(attempts=[dict.fromkeys("abcdef", 0)] * MOST_ATTEMPTS),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_body_with_many_errors_takes_little_memory(case: str) -> None:
    """Of a body of the greatest length; its errors were a hundred times as large as itself."""
    body = HOSTILE[case]
    assert len(body) <= MAX_BODY_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(RefusedRequestError) as refused:
            work_of(Operation.SAVE_ATTEMPTS, body)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert (refused.value.status, refused.value.code) == (422, "InvalidBody")
    assert len(refused.value.detail) <= 500


def test_all_attempts_of_a_task_are_within_the_limits() -> None:
    """A thousand with every field, whose texts have commas and brackets."""
    attempts = [ATTEMPT] * MOST_ATTEMPTS
    assert callable(work_of(Operation.SAVE_ATTEMPTS, saving(attempts=attempts)))
    assert callable(work_of(Operation.INCREMENT, saving(attempts=attempts, name="visits")))
    end = {"status": "failed", "reason": None, "error": None, "finishedAt": ATTEMPT["finished_at"]}
    assert callable(work_of(Operation.CLOSE, saving(attempts=attempts, result='{"a":[1,2]}', **end)))
