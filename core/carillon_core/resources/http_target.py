"""The kind ``HTTPTarget``: where HTTP tasks send their requests, shared by many of them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from carillon_core.errors import InvalidResourceError
from carillon_core.resources.base import Model
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND_TARGET
from carillon_core.resources.scheduled_task import field_problems
from carillon_core.resources.tasks import HTTPURL, HeaderName, HeaderValue, HTTPMethod, ObjectName, StatusCode


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    name: ObjectName
    """The Secret's name."""
    key: ObjectName
    """The key in its data."""


class TargetHeader(Model):
    """One header, its value given here or by a Secret."""

    name: HeaderName
    """The header's name."""
    value: HeaderValue | None = None
    """The value. Exactly one of value and secretKeyRef is set."""
    secret_key_ref: SecretKeyRef | None = None
    """Where the value is."""

    @model_validator(mode="after")
    def _exactly_one_value(self) -> "TargetHeader":
        if (self.value is None) == (self.secret_key_ref is None):
            neither = "has neither value nor secretKeyRef: add one"
            raise ValueError(neither if self.value is None else "has value and secretKeyRef: keep exactly one of them")
        return self


class Signing(Model):
    """Requests are signed with HMAC-SHA256 as Standard Webhooks say (webhook-id, -timestamp, -signature)."""

    secret_key_refs: list[SecretKeyRef] = Field(min_length=1, max_length=2)
    """The keys: whsec_ and base64, or any text. Two during a rotation: each signs, so that the receiver may know
    either."""


class HTTPTargetSpec(Model):
    """A destination of requests. URL, header values and body are templates, as in an HTTP task."""

    url: HTTPURL
    """The absolute http or https URL. Its host must have public addresses alone, unless the operator's
    CARILLON_HTTP_ALLOW opens others, such as the Services of the cluster."""
    method: HTTPMethod = "GET"
    """The request's method."""
    headers: Annotated[list[TargetHeader], Field(max_length=64)] = Field(default_factory=list)
    """Headers of the request."""
    body: str | None = Field(default=None, max_length=65_536)
    """The request's body, unless the task has one."""
    expected_statuses: list[StatusCode] = Field(default_factory=list, max_length=64)
    """The status codes that count as success; any 2xx if left out or empty."""
    max_redirects: int = Field(default=0, ge=0, le=10)
    """How many redirects are followed, 0 to 10. A secret header is not sent to another origin."""
    signing: Signing | None = None
    """How requests are signed; not at all if left out."""


class HTTPTarget(Model):
    """A destination of HTTP tasks: URL, headers, also from Secrets, and signing keys."""

    api_version: str = API_VERSION
    kind: str = KIND_TARGET
    metadata: ObjectMeta
    spec: HTTPTargetSpec


def parse_target_spec(raw: Any, *, strict: bool, prefix: str = "spec") -> HTTPTargetSpec:
    """Return ``raw`` as an HTTPTarget's spec; see ``parse_spec``.

    Raises:
        InvalidResourceError: With every problem found.

    """
    try:
        return HTTPTargetSpec.model_validate(raw, extra="forbid" if strict else "ignore")
    except ValidationError as error:
        raise InvalidResourceError(field_problems(error, prefix)) from error


def target_key(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Return the namespace and the name of an HTTPTarget."""
    return raw["metadata"]["namespace"], raw["metadata"]["name"]
