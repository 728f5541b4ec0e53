"""The base of every model: camelCase outside, snake_case inside, frozen, strict about unknown fields."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

MAX_MESSAGE = 1024
"""The maximum length of a message in a status, an Event or a row of the history."""
MAX_REASON = 256
"""The maximum length of a reason, which is one word; columns with an index cannot hold a long one."""


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


_WRITTEN: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(given: object) -> object:
    """Refuse other forms that pydantic accepts: dates, and numbers, which it reads as seconds since 1970."""
    if isinstance(given, datetime):
        return given
    with suppress(ValidationError):
        if isinstance(given, str) and _RFC3339.fullmatch(given):
            return _WRITTEN.validate_python(given)  # here, because a strict model takes no text after a function
    hint = " (write + as %2B in a URL)" if isinstance(given, str) and " " in given else ""
    msg = f"is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone{hint}"
    raise ValueError(msg)


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""An instant in RFC 3339, with a zone."""
Time = Annotated[
    Instant,
    AfterValidator(_to_utc_seconds),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""An instant, as ``metav1.Time``: RFC 3339 with a zone, kept in UTC to the second."""
