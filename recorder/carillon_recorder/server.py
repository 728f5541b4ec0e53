"""The protocol of the recorder's connections, and their limits."""

import json

from carillon_core.serving.punctual import PunctualProtocol, last_answer

ARRIVAL_SECONDS = 15.0
"""How long a request may take to arrive, from the first moment of its connection; the app gives a body less."""
KEEP_ALIVE_SECONDS = 10
MAX_HEAD_BYTES = 32 * 1024
MOST_CONNECTIONS = 512
"""With TLS, each takes 0.3 MB: less than half of the memory that the chart gives. Others wait to be accepted."""


def _refusal(status: int, code: str, detail: str, *headers: str) -> bytes:
    body = json.dumps({"code": code, "detail": detail, "inDoubt": False}).encode()
    return last_answer(status, "application/json", body, *headers)


class RecorderProtocol(PunctualProtocol):
    """A connection whose refusals ``RecorderClient`` understands."""

    arrival_seconds = ARRIVAL_SECONDS
    timed_out = _refusal(408, "TooSlow", f"the request did not arrive within {ARRIVAL_SECONDS:g} s", "retry-after: 1")
