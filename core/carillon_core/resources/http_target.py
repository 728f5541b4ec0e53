"""The kind ``HTTPTarget``: where HTTP tasks send their requests, shared by many of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from carillon_core.resources.base import Model
from carillon_core.resources.containers import ObjectName
from carillon_core.resources.field_problems import validated
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND_TARGET
from carillon_core.resources.tasks import DAY_SECONDS, HTTPURL, HeaderName, HeaderValue, HTTPMethod, StatusCode


class SecretKeyRef(Model):
    """A reference to a key of a Secret in the same namespace."""

    name: ObjectName
    """The name of the Secret."""
    key: ObjectName
    """The key within the Secret."""


class TargetHeader(Model):
    """A request header with a literal value or a value from a Secret."""

    name: HeaderName
    """The name of the header."""
    value: HeaderValue | None = None
    """The value of the header. Set exactly one of value and secretKeyRef."""
    secret_key_ref: SecretKeyRef | None = None
    """The Secret key that holds the value. Set exactly one of value and secretKeyRef."""

    @model_validator(mode="after")
    def _exactly_one_value(self) -> "TargetHeader":
        if (self.value is None) == (self.secret_key_ref is None):
            neither = "has neither value nor secretKeyRef: add one"
            raise ValueError(neither if self.value is None else "has value and secretKeyRef: keep exactly one of them")
        return self


class Signing(Model):
    """How requests are signed: with HMAC-SHA256, as specified by Standard Webhooks."""

    secret_key_refs: list[SecretKeyRef] = Field(min_length=1, max_length=2)
    """One or two signing keys: whsec_ followed by base64, or any text. During a key rotation, set both the old and the
    new key; the request then carries a signature of each."""


class HTTPTargetSpec(Model):
    """A destination for HTTP tasks. The URL, the header values and the body are templates, as in an HTTP task."""

    url: HTTPURL
    """The absolute http or https URL. Its host must resolve to public addresses only, unless CARILLON_HTTP_ALLOW of the
    operator permits others, such as Services of the cluster."""
    method: HTTPMethod = "GET"
    """The HTTP method. Default: GET."""
    headers: Annotated[list[TargetHeader], Field(max_length=64)] = Field(default_factory=list)
    """Request headers, at most 64."""
    body: str | None = Field(default=None, max_length=65_536)
    """The request body. Default: none. The body of a task overrides it."""
    expected_statuses: list[StatusCode] = Field(default_factory=list, max_length=64)
    """The status codes that count as success. Default: any 2xx."""
    max_redirects: int = Field(default=0, ge=0, le=10)
    """The maximum number of redirects to follow. Secret headers are never sent to another origin. Range: 0 to 10.
    Default: 0."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of an execution of a task that uses this target, in seconds, including all attempts and the
    delays between them. The timeoutSeconds of a task or a RunRequest overrides it. Range: 1 to 604800. Default:
    3600."""
    signing: Signing | None = None
    """How requests are signed. Default: not signed."""


class HTTPTarget(Model):
    """A destination for HTTP tasks: its URL, headers, which can come from Secrets, and signing keys."""

    api_version: str = API_VERSION
    kind: str = KIND_TARGET
    metadata: ObjectMeta
    spec: HTTPTargetSpec


def parse_target_spec(raw: Any, *, strict: bool, prefix: str = "spec") -> HTTPTargetSpec:
    """Return ``raw`` as an HTTPTarget's spec; see ``parse_spec``.

    Raises:
        InvalidResourceError: With every problem found.

    """
    return validated(HTTPTargetSpec, raw, strict=strict, prefix=prefix)


def target_key(raw: Mapping[str, Any]) -> tuple[str, str]:
    """Return the namespace and the name of an HTTPTarget."""
    return raw["metadata"]["namespace"], raw["metadata"]["name"]


@dataclass(frozen=True, slots=True)
class SecretUse:
    """One place where an HTTPTarget refers to a Secret."""

    path: str
    """The path of the reference, such as ``spec.headers[0].secretKeyRef``."""
    ref: SecretKeyRef
    header: str | None
    """The name of the header that it becomes; None if it is a signing key."""


def secret_uses(spec: HTTPTargetSpec) -> Iterator[SecretUse]:
    """Yield every reference to a Secret."""
    for index, header in enumerate(spec.headers):
        if header.secret_key_ref is not None:
            yield SecretUse(f"spec.headers[{index}].secretKeyRef", header.secret_key_ref, header.name)
    for index, ref in enumerate(spec.signing.secret_key_refs if spec.signing is not None else ()):
        yield SecretUse(f"spec.signing.secretKeyRefs[{index}]", ref, None)
