"""The base of every model: camelCase outside, snake_case inside, frozen, strict about unknown fields."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

MAX_MESSAGE = 1024
"""The maximum length of a message in a status, an Event or a row of the history."""


class Model(BaseModel):
    """A part of a resource.

    Unknown fields are rejected, as in a REST body. An object read from the
    cluster is parsed with ``extra="ignore"`` instead: see
    ``scheduled_task.parse_scheduled_task``.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


def rfc3339(when: datetime) -> str:
    """Return ``when`` as Kubernetes writes a time: UTC, whole seconds, ``2026-01-02T03:04:05Z``."""
    return f"{when.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def _to_utc_seconds(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        msg = "must be in the years 1 to 9999 in UTC"
        raise ValueError(msg) from error


def _written_out(given: object) -> object:
    """Refuse numbers, also as texts: pydantic takes them for seconds since 1970, so that 2026 would be half an hour."""
    is_written_out = isinstance(given, datetime) or (isinstance(given, str) and re.match(r"\d{4}-\d\d-\d\d", given))
    if not is_written_out:
        msg = "is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"
        raise ValueError(msg)
    return given


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""An instant in RFC 3339, with a zone."""
Time = Annotated[
    Instant,
    AfterValidator(_to_utc_seconds),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""An instant, as ``metav1.Time``: RFC 3339 with a zone, kept in UTC to the second."""
