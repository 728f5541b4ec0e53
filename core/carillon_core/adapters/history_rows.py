"""Prepares rows for storage, and encodes cursors; shared by the adapters of the history. Pure."""

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from carillon_core.contract import OPEN_STATUSES
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import ExecutionQuery
from carillon_core.resources.base import MAX_REASON

MAX_LIMIT = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = struct.Struct(">3sq16s")
_CURSOR_MARK = b"cx1"
"""Distinguishes our cursors from other base64, and this format from later ones."""


def storable_text(text: str) -> str:
    """Return the text without characters that Postgres rejects: NUL is removed, lone surrogates become ``?``."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def storable_json(value: Any) -> Any:
    """Return the JSON value in a form that ``jsonb`` accepts: see ``storable_text``; NaN and infinities become null."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {storable_text(str(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value


def storable_record(record: ExecutionRecord, now: datetime) -> ExecutionRecord:
    """Return the record as it is stored: all times present and in UTC, text that Postgres accepts.

    ``now`` is the default of ``created_at``, and of the end of a skipped or
    missed slot. The default end of a finished attempt is that of the execution.

    Raises:
        ValueError: The UID of the task or of the origin is not a UUID; a running execution has no start or has an end;
            the first slot is later than the slot; or an attempt is inconsistent.

    """
    created_at = record.created_at or now
    is_open = record.status in OPEN_STATUSES
    if is_open and (record.started_at is None or record.finished_at is not None):
        raise ValueError(f"execution {record.id} is {record.status}: it must have a start and no end")
    if record.first_slot is not None and record.first_slot > record.slot:
        raise ValueError(f"execution {record.id}: first slot {record.first_slot} is later than slot {record.slot}")
    task_uid = str(UUID(record.task_uid))
    origin = str(UUID(record.origin or task_uid))
    finished_at = None if is_open else (record.finished_at or created_at).astimezone(UTC)
    return replace(
        record,
        task_uid=task_uid,
        namespace=storable_text(record.namespace),
        task=storable_text(record.task),
        task_type=storable_text(record.task_type),
        slot=record.slot.astimezone(UTC),
        reason=_reason(record.reason),
        message=_optional_text(record.message),
        job_name=_optional_text(record.job_name),
        pod_name=_optional_text(record.pod_name),
        created_at=created_at.astimezone(UTC),
        started_at=record.started_at and record.started_at.astimezone(UTC),
        finished_at=finished_at,
        result=None if record.result is None else storable_json(record.result),
        error=_optional_text(record.error),
        origin=None if origin == task_uid else origin,
        first_slot=record.first_slot and record.first_slot.astimezone(UTC),
        attempts=_storable_attempts(record, finished_at, now),
    )


def _storable_attempts(record: ExecutionRecord, finished_at: datetime | None, now: datetime) -> tuple[Attempt, ...]:
    """Return the attempts as they are stored, in order; the first of each number."""
    ready: dict[int, Attempt] = {}
    for attempt in record.attempts:
        is_open = attempt.status in OPEN_STATUSES
        if attempt.number < 1 or (is_open and (finished_at is not None or attempt.finished_at is not None)):
            raise ValueError(
                f"attempt {attempt.number} of execution {record.id} is {attempt.status}: numbers start at 1, and"
                " a running attempt and its execution have no end"
            )
        end = None if is_open else (attempt.finished_at or finished_at or now).astimezone(UTC)
        stored = replace(
            attempt,
            reason=_reason(attempt.reason),
            error=_optional_text(attempt.error),
            pod_name=_optional_text(attempt.pod_name),
            started_at=attempt.started_at and attempt.started_at.astimezone(UTC),
            finished_at=end,
        )
        ready.setdefault(attempt.number, stored)
    return tuple(ready[number] for number in sorted(ready))


def storable_closing(closing: Closing) -> Closing:
    """Return the closing as it is stored.

    Raises:
        ValueError: Its status is not terminal.

    """
    if closing.status in OPEN_STATUSES:
        raise ValueError(f"execution {closing.id} cannot be closed as {closing.status}")
    return replace(
        closing,
        reason=_reason(closing.reason),
        message=_optional_text(closing.message),
        result=None if closing.result is None else storable_json(closing.result),
        pod_name=_optional_text(closing.pod_name),
        finished_at=closing.finished_at.astimezone(UTC),
    )


def check_limit(query: ExecutionQuery) -> None:
    """Raise ``InvalidResourceError`` if the page size is out of range."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidResourceError([FieldProblem("limit", f"must be from 1 to {MAX_LIMIT} (got {query.limit})")])


def encode_cursor(slot: datetime, uid: UUID) -> str:
    """Return the opaque cursor (base64url) of the page that starts after this row."""
    micros = (slot - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_CURSOR.pack(_CURSOR_MARK, micros, uid.bytes)).decode()


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the slot and the id of the last row of the previous page.

    Raises:
        InvalidResourceError: The cursor is invalid; the path is ``cursor``.

    """
    try:
        mark, micros, uid = _CURSOR.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
        slot = _EPOCH + micros * _MICROSECOND
    except (ValueError, OverflowError, binascii.Error, struct.error) as error:
        raise _bad_cursor() from error
    if mark != _CURSOR_MARK:
        raise _bad_cursor()
    return slot, UUID(bytes=uid)


def _bad_cursor() -> InvalidResourceError:
    return InvalidResourceError([FieldProblem("cursor", "must be the nextCursor of the previous page")])


def _reason(text: str | None) -> str | None:
    return None if text is None else storable_text(text)[:MAX_REASON]


def _optional_text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
