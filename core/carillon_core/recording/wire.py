"""How the operations of ``Recorder`` are sent over HTTP: paths, statuses, and JSON; for the client and the service.

``POST /v1/executions/{id}/{operation}`` with the execution's token as bearer.
The answer of a refusal is ``{"code": …, "detail": …}``; one with
``Retry-After`` may be tried again, and one with ``"inDoubt": true`` may have
been carried out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from carillon_core.recording.port import Begun, End, Row, Takeover

PATH = "/v1/executions/{execution}/{operation}"
MAX_BODY_BYTES = 4 * 2**20
"""Of a request. Postgres takes a result of 1 MiB, whose characters may be escaped."""


_OF_RESPONSES = frozenset({"status_code", "response_time_ms"})


class Operation(StrEnum):
    """The last part of the path: a method of ``Recorder``."""

    CLAIM = "claim"
    LOOK = "look"
    TAKE_OVER = "take-over"
    SAVE_ATTEMPTS = "save-attempts"
    INCREMENT = "increment"
    CLOSE = "close"


def encoded_begun(begun: Begun | None) -> Any:
    """Return the JSON of an attempt that has begun."""
    if begun is None:
        return None
    return {"number": begun.number, "at": begun.at.isoformat(), "ageSeconds": begun.age_seconds}


def decoded_begun(given: Any) -> Begun | None:
    """Return what ``encoded_begun`` encoded; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    if given is None:
        return None
    return Begun(int(given["number"]), datetime.fromisoformat(given["at"]), float(given["ageSeconds"]))


def encoded_row(row: Row | None) -> Any:
    """Return the JSON of a row."""
    if row is None:
        return None
    return {"status": row.status, "reason": row.reason, "error": row.error, "result": row.result, "pod": row.pod}


def decoded_row(given: Any) -> Row | None:
    """Return what ``encoded_row`` encoded; raises ``KeyError`` or ``TypeError``."""
    if given is None:
        return None
    return Row(given["status"], given["reason"], given["error"], given["result"], given["pod"])


def encoded_takeover(wanted: Takeover) -> Mapping[str, Any]:
    """Return the JSON of a takeover."""
    return {"pod": wanted.pod, "job": wanted.job, "again": wanted.again, "mostAttempts": wanted.most_attempts}


def encoded_taken(taken: Begun | Row | str) -> Mapping[str, Any]:
    """Return the JSON of a takeover's answer: one of three fields."""
    if isinstance(taken, Begun):
        return {"begun": encoded_begun(taken)}
    return {"owner": taken} if isinstance(taken, str) else {"row": encoded_row(taken)}


def decoded_taken(given: Any) -> Begun | Row | str:
    """Return what ``encoded_taken`` encoded; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    taken = decoded_begun(given.get("begun")) or decoded_row(given.get("row"))
    return str(given["owner"]) if taken is None else taken


def encoded_end(pod: str, end: End) -> Mapping[str, Any]:
    """Return the JSON of an end."""
    return {
        "pod": pod,
        "status": end.status,
        "reason": end.reason,
        "error": end.error,
        "result": end.result,
        "finishedAt": end.finished_at,
        "attempts": list(end.attempts),
    }


def without_responses(attempts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return attempts as the recorder knew them before it stored what the servers of HTTP tasks answered."""
    return [{name: value for name, value in each.items() if name not in _OF_RESPONSES} for each in attempts]


def decoded_value(given: Any) -> int | None:
    """Return the value of a counter; raises ``TypeError`` or ``ValueError``."""
    return None if given is None else int(given)
