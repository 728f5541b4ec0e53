"""The task types: ``spec.task`` of a ScheduledTask has exactly one of them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from carillon_core.name_patterns import DNS_LABEL, LABEL_PREFIX, LABEL_WORD
from carillon_core.resources.base import Model
from carillon_core.resources.containers import (
    IMAGE_PATTERN,
    QUANTITY,
    RESOURCE_NAME,
    ContainerTask,
    JobTask,
    ObjectName,
)
from carillon_core.resources.nesting import FreeObject

DAY_SECONDS = 86_400

HEADER_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
URL_PATTERN = r"^[hH][tT][tT][pP][sS]?://[^/\s?#]+"
HEADER_VALUE_PATTERN = r"^[\t\x20-\x7e\x80-\xff]*$"
QUALIFIED_NAME = rf"^({LABEL_PREFIX}/)?{LABEL_WORD}$"
LABEL_VALUE = rf"^({LABEL_WORD})?$"
LABEL_NAME = rf"^{DNS_LABEL}$"
PATTERN_MESSAGES = {
    HEADER_NAME_PATTERN: (
        "is a name that HTTP does not allow: use 1 to 256 letters, digits and !#$%&'*+-.^_`|~, without spaces or a "
        "colon"
    ),
    HEADER_VALUE_PATTERN: "is a value that HTTP does not allow: write one line, without control characters",
    QUALIFIED_NAME: "is a name that is not valid for a label or a taint: write it as name or example.com/name",
    LABEL_VALUE: "is not a valid label value: use at most 63 letters, digits, hyphens, underscores and dots",
    QUANTITY: "is not a quantity: write it as 500m, 2, 256Mi or 1Gi",
    RESOURCE_NAME: "is a name that is not a resource: use cpu, memory, ephemeral-storage or example.com/gpu",
    LABEL_NAME: "is not a valid queue name: use at most 63 lowercase letters, digits and hyphens",
    IMAGE_PATTERN: "is not an image name: write it without spaces, such as busybox:1.37",
}
"""The message for each pattern."""

HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=HEADER_NAME_PATTERN)]
HeaderValue = Annotated[str, Field(max_length=8192, pattern=HEADER_VALUE_PATTERN)]


def _http_url(url: str) -> str:
    if not re.match(URL_PATTERN, url):
        msg = "must be an absolute URL that begins with http:// or https:// and names a host"
        raise ValueError(msg)
    return url


class SleepTask(Model):
    """Sleep, and record the time slept."""

    duration_seconds: int = Field(ge=1, le=7 * DAY_SECONDS)
    """How long to sleep, in seconds. Range: 1 to 604800."""


class CounterTask(Model):
    """Increment a named counter, exactly once per execution, and record its new value."""

    name: str | None = Field(default=None, min_length=1, max_length=253)
    """The name of the counter; tasks in the same namespace can share it. Default: the task's name."""


HTTPURL = Annotated[
    str,
    AfterValidator(_http_url),
    Field(max_length=8192, json_schema_extra={"pattern": URL_PATTERN}),
]
HTTPMethod = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
StatusCode = Annotated[int, Field(ge=100, le=599)]


class TargetRef(Model):
    """A reference to an HTTPTarget in the same namespace."""

    name: ObjectName
    """The name of the HTTPTarget."""


class HTTPTask(Model):
    """Send one HTTP request; record the status code and the response time.

    The URL, the header values and the body are Jinja templates with the variables slot, local_slot, execution_id,
    attempt, task, namespace, cause and parameters.
    """

    url: HTTPURL | None = None
    """The absolute http or https URL. Its host must resolve to public addresses only, unless CARILLON_HTTP_ALLOW of the
    operator permits others, such as Services of the cluster. Set exactly one of url and targetRef."""
    target_ref: TargetRef | None = None
    """The HTTPTarget to send the request to. Fields set in the task override those of the target. Set exactly one of
    url and targetRef."""
    method: HTTPMethod | None = None
    """The HTTP method. Default: the method of the target, or GET."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=64)
    """Request headers, at most 64. They are merged with those of the target and override headers of the same name."""
    body: str | None = Field(default=None, max_length=65_536)
    """The request body, sent as UTF-8. Default: the body of the target, or none."""
    expected_statuses: list[StatusCode] = Field(default_factory=list, max_length=64)
    """The status codes that count as success. Default: those of the target, or any 2xx."""
    max_redirects: int | None = Field(default=None, ge=0, le=10)
    """The maximum number of redirects to follow. Secret headers are never sent to another origin. Range: 0 to 10.
    Default: that of the target, or 0."""

    @model_validator(mode="after")
    def _exactly_one_destination(self) -> "HTTPTask":
        if (self.url is None) == (self.target_ref is None):
            neither = "has neither url nor targetRef: add one"
            raise ValueError("has url and targetRef: keep exactly one of them" if self.url else neither)
        return self


class SumTask(Model):
    """Add two numbers, and record the sum."""

    a: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The first number."""
    b: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The second number."""


class PluginTask(Model):
    """Run a task type provided by an installed Python package (entry point group carillon.tasks)."""

    name: str = Field(min_length=1, max_length=253)
    """The name of the entry point."""
    parameters: FreeObject = Field(default_factory=dict)
    """Parameters passed to the plugin unchanged."""


TASK_TYPES = ("sleep", "counter", "http", "sum", "container", "job", "plugin")


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
    container: ContainerTask | None = None
    """Run a command in any container image."""
    job: JobTask | None = None
    """Run a Kubernetes Job, defined as in a CronJob."""
    plugin: PluginTask | None = None
    """Run a task type provided by an installed Python package."""

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
    def runs_own_pods(self) -> bool:
        """Whether it runs the user's own containers instead of a runner."""
        return self.container is not None or self.job is not None

    @property
    def type(self) -> str:
        """The name of the task type that is set."""
        return next(name for name in TASK_TYPES if getattr(self, name) is not None)


def _number(low: int, high: int) -> dict[str, JsonValue]:
    """Return the schema keywords that pydantic omits for a union: its type and its bounds."""
    return {"type": "number", "minimum": low, "maximum": high}


class RetryPolicy(Model):
    """How failed attempts of an execution are retried.

    The delay before retry k is initialDelaySeconds x factor^(k - 1), at most maxDelaySeconds, randomly shortened by up
    to the fraction jitter. A longer Retry-After header of the server takes precedence. HTTP responses with a 4xx status
    are not retried, except 408, 425 and 429. Each attempt of a container is a Job of its own, which replaces the one
    before; a non-zero exit code is retried. An execution that times out or is cancelled is not retried. If its pod is
    told to terminate, for example because its node is drained, a runner's execution continues in another pod as its
    next attempt; a container starts again without using up a retry.
    """

    limit: int = Field(default=0, ge=0, le=20)
    """The maximum number of retries after the first attempt. Range: 0 to 20. Default: 0."""
    initial_delay_seconds: int = Field(default=10, ge=0, le=DAY_SECONDS)
    """The delay before the first retry, in seconds. Range: 0 to 86400. Default: 10."""
    factor: int | float = Field(default=2, ge=1, le=10, json_schema_extra=_number(1, 10), allow_inf_nan=False)
    """The factor by which the delay grows with each retry. Range: 1 to 10. Default: 2."""
    max_delay_seconds: int = Field(default=600, ge=0, le=DAY_SECONDS)
    """The maximum delay between attempts, in seconds. Range: 0 to 86400. Default: 600."""
    jitter: int | float = Field(default=0.1, ge=0, le=1, json_schema_extra=_number(0, 1), allow_inf_nan=False)
    """The maximum fraction by which each delay is randomly shortened. Range: 0 to 1. Default: 0.1."""
    attempt_timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of one attempt in seconds; a longer attempt fails and can be retried. Range: 1 to 604800.
    Default: the timeoutSeconds of the execution."""
