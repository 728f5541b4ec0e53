"""What a ScheduledTask runs: ``spec.task`` has exactly one of these."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from carillon_core.resources.base import Model

DAY_SECONDS = 86_400

HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Field(max_length=8192, pattern=r"^[\t\x20-\x7e\x80-\xff]*$")]


def _http_url(url: str) -> str:
    if not re.match(r"^https?://[^/\s?#]+", url, re.IGNORECASE):
        msg = "must be an absolute URL that begins with http:// or https:// and names a host"
        raise ValueError(msg)
    return url


class SleepTask(Model):
    """Sleep, and record the time slept."""

    duration_seconds: int = Field(ge=1, le=7 * DAY_SECONDS)
    """How long to sleep, in seconds, 1 to 604800."""


class CounterTask(Model):
    """Increment a named counter, exactly once per execution, and record its new value."""

    name: str | None = Field(default=None, min_length=1, max_length=253)
    """The counter's name, shared by the tasks of its namespace; the task's own name if left out."""


class HTTPTask(Model):
    """Send one HTTP request; record the status code and the response time."""

    url: Annotated[
        str,
        AfterValidator(_http_url),
        Field(max_length=8192, json_schema_extra={"pattern": r"^[hH][tT][tT][pP][sS]?://[^/\s?#]+"}),
    ]
    """The absolute http or https URL."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    """The request's method."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=64)
    """Headers of the request."""
    body: str | None = Field(default=None, max_length=65_536)
    """The request's body, sent as UTF-8."""
    expected_statuses: list[Annotated[int, Field(ge=100, le=599)]] = Field(default_factory=list, max_length=64)
    """The status codes that count as success; any 2xx if left out or empty."""


class SumTask(Model):
    """Add two numbers, and record the sum."""

    a: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The first summand."""
    b: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The second summand."""


TASK_TYPES = ("sleep", "counter", "http", "sum")


class Task(Model):
    """What to run: exactly one task type."""

    sleep: SleepTask | None = None
    """Sleep for a while."""
    counter: CounterTask | None = None
    """Increment a named counter."""
    http: HTTPTask | None = None
    """Send an HTTP request."""
    sum: SumTask | None = None
    """Add two numbers."""

    @model_validator(mode="after")
    def _exactly_one_type(self) -> "Task":
        given = [name for name in TASK_TYPES if getattr(self, name) is not None]
        if len(given) != 1:
            listed = ", ".join(TASK_TYPES)
            msg = (
                f"has no task type: add exactly one of {listed}"
                if not given
                else f"has {len(given)} task types ({', '.join(given)}): keep exactly one"
            )
            raise ValueError(msg)
        return self

    @property
    def type(self) -> str:
        """The name of the task type that is set."""
        return next(name for name in TASK_TYPES if getattr(self, name) is not None)
