"""What a ScheduledTask runs: ``spec.task`` has exactly one of these."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from carillon_core.resources.base import Model
from carillon_core.resources.nesting import FreeObject

DAY_SECONDS = 86_400

HEADER_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
URL_PATTERN = r"^[hH][tT][tT][pP][sS]?://[^/\s?#]+"
HEADER_VALUE_PATTERN = r"^[\t\x20-\x7e\x80-\xff]*$"
ENV_NAME_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
IMAGE_PATTERN = r"^\S+$"
QUALIFIED_NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
LABEL_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
QUANTITY = r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$"
RESOURCE_NAME = (
    r"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMGTPE]i"
    r"|[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$"
)
PATTERN_MENDS = {
    HEADER_NAME_PATTERN: (
        "is a name that HTTP does not allow: use 1 to 256 letters, digits and !#$%&'*+-.^_`|~, without spaces or a "
        "colon"
    ),
    HEADER_VALUE_PATTERN: "is a value that HTTP does not allow: write one line, without control characters",
    QUALIFIED_NAME: "is a name that no label and no taint can have: write it as name or example.com/name",
    LABEL_VALUE: "is no value of a label: write at most 63 letters, digits, hyphens, underscores and dots",
    QUANTITY: "is no quantity: write it as 500m, 2, 256Mi or 1Gi",
    RESOURCE_NAME: "is no name of a resource: write cpu, memory, ephemeral-storage or one like example.com/gpu",
    LABEL_NAME: "is no name of a queue: write at most 63 small letters, digits and hyphens",
    IMAGE_PATTERN: "is no image: write its name without spaces, such as busybox:1.37",
}
"""What a pattern says, in words."""

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
    """How long to sleep, in seconds, 1 to 604800."""


class CounterTask(Model):
    """Increment a named counter, exactly once per execution, and record its new value."""

    name: str | None = Field(default=None, min_length=1, max_length=253)
    """The counter's name, shared by the tasks of its namespace; the task's own name if left out."""


HTTPURL = Annotated[
    str,
    AfterValidator(_http_url),
    Field(max_length=8192, json_schema_extra={"pattern": URL_PATTERN}),
]
HTTPMethod = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
StatusCode = Annotated[int, Field(ge=100, le=599)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]


class TargetRef(Model):
    """Names an HTTPTarget of the task's own namespace."""

    name: ObjectName
    """The HTTPTarget's name."""


class HTTPTask(Model):
    """Send one HTTP request; record the status code and the response time.

    The URL, the values of the headers and the body are Jinja templates over slot, local_slot, execution_id, attempt,
    task, namespace, cause and parameters.
    """

    url: HTTPURL | None = None
    """The absolute http or https URL. Exactly one of url and targetRef is set. Its host must have public addresses
    alone, unless the operator's CARILLON_HTTP_ALLOW opens others, such as the Services of the cluster."""
    target_ref: TargetRef | None = None
    """The HTTPTarget that the request goes to; what is set here beside it wins over what the target says."""
    method: HTTPMethod | None = None
    """The request's method; GET if left out."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=64)
    """Headers of the request, added to the target's."""
    body: str | None = Field(default=None, max_length=65_536)
    """The request's body, sent as UTF-8."""
    expected_statuses: list[StatusCode] = Field(default_factory=list, max_length=64)
    """The status codes that count as success; any 2xx if left out or empty."""
    max_redirects: int | None = Field(default=None, ge=0, le=10)
    """How many redirects are followed, 0 to 10; none if left out. A secret header is not sent to another origin."""

    @model_validator(mode="after")
    def _exactly_one_destination(self) -> "HTTPTask":
        if (self.url is None) == (self.target_ref is None):
            neither = "has neither url nor targetRef: add one"
            raise ValueError("has url and targetRef: keep exactly one of them" if self.url else neither)
        return self


class SumTask(Model):
    """Add two numbers, and record the sum."""

    a: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The first summand."""
    b: int | float = Field(json_schema_extra={"type": "number"}, allow_inf_nan=False)
    """The second summand."""


def _environment_name(name: str) -> str:
    if not re.match(ENV_NAME_PATTERN, name) or name.endswith("\n"):
        msg = "is no name of an environment variable: use letters, digits, '-', '_' and '.', not a digit first"
        raise ValueError(msg)
    return name


class EnvironmentVariable(Model):
    """One environment variable."""

    name: Annotated[
        str,
        AfterValidator(_environment_name),
        Field(min_length=1, max_length=256, json_schema_extra={"pattern": ENV_NAME_PATTERN}),
    ]
    """Its name."""
    value: str = Field(default="", max_length=65_536)
    """Its value."""


ResourceName = Annotated[str, Field(min_length=1, max_length=317, pattern=RESOURCE_NAME)]
Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY)]


class ContainerResources(Model):
    """What a container asks for and may use at most, as in a pod."""

    requests: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """What it asks for, such as cpu: 100m."""
    limits: dict[ResourceName, Quantity] = Field(default_factory=dict, max_length=16)
    """What it may use at most, such as memory: 256Mi."""


class ContainerTask(Model):
    """Run any image and command; exit code 0 is success, the termination message is recorded."""

    image: str = Field(min_length=1, max_length=1024, pattern=IMAGE_PATTERN)
    """The image."""
    command: list[Annotated[str, Field(max_length=65_536)]] = Field(default_factory=list, max_length=64)
    """The program and its first arguments; the image's own if left out."""
    args: list[Annotated[str, Field(max_length=65_536)]] = Field(default_factory=list, max_length=256)
    """Arguments; the image's own if left out."""
    env: list[EnvironmentVariable] = Field(default_factory=list, max_length=128)
    """Environment variables, beside CARILLON_EXECUTION_ID, CARILLON_SLOT and the like. No database credentials."""
    working_dir: str | None = Field(default=None, min_length=1, max_length=4096)
    """The working directory; the image's own if left out."""
    run_as_user: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """The numeric user, never root; the image's own if left out, which must not be root then."""
    resources: ContainerResources = Field(default_factory=ContainerResources)
    """What it asks for and may use at most."""


class PluginTask(Model):
    """Run a task type that an installed Python package brings (entry point group carillon.tasks)."""

    name: str = Field(min_length=1, max_length=253)
    """The entry point's name."""
    parameters: FreeObject = Field(default_factory=dict)
    """What the plugin is given, as it stands."""


TASK_TYPES = ("sleep", "counter", "http", "sum", "container", "plugin")


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
    """Run any image and command."""
    plugin: PluginTask | None = None
    """Run a task type of an installed Python package."""

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


def _number(low: int, high: int) -> dict[str, JsonValue]:
    """Return what pydantic's schema of a union does not say: its type and its bounds."""
    return {"type": "number", "minimum": low, "maximum": high}


class RetryPolicy(Model):
    """What is tried again within an execution, and when.

    Attempt k + 1 begins initialDelaySeconds x factor^(k - 1) after attempt k failed, at most maxDelaySeconds, shortened
    at random by up to the share jitter. A Retry-After of the server is waited for instead if it is longer. An answer
    of the class 4xx is not tried again, but 408, 425 and 429. Only failures are: no time-out of the whole, no end by a
    signal.
    """

    limit: int = Field(default=0, ge=0, le=20)
    """How many attempts may follow the first, 0 to 20."""
    initial_delay_seconds: int = Field(default=10, ge=0, le=DAY_SECONDS)
    """The wait before the second attempt, in seconds."""
    factor: int | float = Field(default=2, ge=1, le=10, json_schema_extra=_number(1, 10), allow_inf_nan=False)
    """By how much each wait is longer than the one before, 1 to 10."""
    max_delay_seconds: int = Field(default=600, ge=0, le=DAY_SECONDS)
    """The longest wait, in seconds."""
    jitter: int | float = Field(default=0.1, ge=0, le=1, json_schema_extra=_number(0, 1), allow_inf_nan=False)
    """The share of a wait by which it may be shortened at random, 0 to 1."""
    attempt_timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """An attempt that runs longer has failed with the class timeout; the execution's own timeoutSeconds if left out."""
