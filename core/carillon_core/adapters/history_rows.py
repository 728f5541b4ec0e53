"""What the history's adapters share: how a row is made fit to store, and the cursor of a page. Pure."""

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

MAX_LIMIT = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = struct.Struct(">3sq16s")
_CURSOR_MARK = b"cx1"
"""Tells a cursor of ours from other base64, and this form of it from later ones."""


def storable_text(text: str) -> str:
    """Return the text without what Postgres refuses: NUL, and lone surrogates (which become ``?``)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def storable_json(value: Any) -> Any:
    """Return the JSON value without what ``jsonb`` refuses: see ``storable_text``; NaN and infinities become null."""
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
    """Return the record as it is stored: times in UTC and complete, text that Postgres takes.

    ``now`` stands in for a ``created_at`` that is not given, and for the end of
    a slot that was skipped or missed, which ends as it begins. An attempt that
    has ended and does not say when has ended with the execution.

    Raises:
        ValueError: The task's or the origin's uid is no UUID; a running execution lacks its start or has an end; the
            first slot is later than the slot; or an attempt makes no sense.

    """
    created_at = record.created_at or now
    is_open = record.status in OPEN_STATUSES
    if is_open and (record.started_at is None or record.finished_at is not None):
        raise ValueError(f"execution {record.id} is {record.status}: it needs a start and can have no end")
    if record.first_slot is not None and record.first_slot > record.slot:
        raise ValueError(f"execution {record.id} stands for slots from {record.first_slot} to {record.slot}")
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
        reason=_optional_text(record.reason),
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
    """Return the attempts in order, of each number the first, fit to store."""
    ready: dict[int, Attempt] = {}
    for attempt in record.attempts:
        is_open = attempt.status in OPEN_STATUSES
        if attempt.number < 1 or (is_open and (finished_at is not None or attempt.finished_at is not None)):
            raise ValueError(
                f"attempt {attempt.number} of execution {record.id} is {attempt.status}: the numbers begin with 1, and"
                " one that runs has no end, as its execution has none"
            )
        end = None if is_open else (attempt.finished_at or finished_at or now).astimezone(UTC)
        stored = replace(
            attempt,
            reason=_optional_text(attempt.reason),
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
        ValueError: Its status is not a terminal one.

    """
    if closing.status in OPEN_STATUSES:
        raise ValueError(f"execution {closing.id} cannot be closed as {closing.status}")
    return replace(
        closing,
        reason=_optional_text(closing.reason),
        message=_optional_text(closing.message),
        result=None if closing.result is None else storable_json(closing.result),
        finished_at=closing.finished_at.astimezone(UTC),
    )


def check_limit(query: ExecutionQuery) -> None:
    """Raise ``InvalidResourceError`` if the page's size is out of bounds."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidResourceError([FieldProblem("limit", f"must be between 1 and {MAX_LIMIT}")])


def encode_cursor(slot: datetime, uid: UUID) -> str:
    """Return the opaque cursor (base64url) of the page that begins after this row."""
    micros = (slot - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_CURSOR.pack(_CURSOR_MARK, micros, uid.bytes)).decode()


def decode_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the slot and the id of the last row of the page before.

    Raises:
        InvalidResourceError: It is none of ours; the path is ``cursor``.

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
    return InvalidResourceError([FieldProblem("cursor", "is not one of ours: use nextCursor of the page before")])


def _optional_text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)
