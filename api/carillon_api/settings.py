"""The API's settings, read once from the environment by ``__main__``."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from carillon_core.domain.scope import SETTING
from carillon_core.name_patterns import is_dns_label, is_dns_subdomain
from carillon_core.settings import (
    DATABASE_URL_FORM,
    MOST_PORT,
    CommonSettings,
    Form,
    Switch,
    WholeNumber,
    Words,
    words,
)

Network = IPv4Network | IPv6Network

MOST_RATE = 1_000_000

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _host(host: str) -> str:
    if any(c.isspace() or c == "/" for c in host):
        msg = f'must be an address or a host name, such as 0.0.0.0 (got "{host}")'
        raise ValueError(msg)
    return host


def _namespace(name: str) -> str:
    if not is_dns_label(name):
        msg = f'must be at most 63 lower-case letters, digits and hyphens, such as team-a (got "{name}")'
        raise ValueError(msg)
    return name


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            msg = (
                "must be origins as browsers send them, such as https://console.example.com, without a path"
                f' (got "{origin}")'
            )
            raise ValueError(msg)
    return origins


def _secret_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    namespace, _, name = value.partition("/")
    if not is_dns_label(namespace) or not is_dns_subdomain(name):
        msg = (
            f'must be the namespace and the name of a Secret, such as carillon-system/carillon-api-keys (got "{value}")'
        )
        raise ValueError(msg)
    return namespace, name


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    networks = []
    for word in words(value):
        try:
            networks.append(ip_network(word))
        except ValueError as error:
            msg = f'must be networks such as 10.0.0.0/8,fd00::/8 (got "{word}")'
            raise ValueError(msg) from error
    return tuple(networks)


def _first_served(values: dict[str, Any]) -> str:
    scope = values.get("scope")
    return scope.namespaces[0] if scope is not None and scope.namespaces else "default"


class Settings(CommonSettings):
    """The API's variables."""

    database_url: Annotated[
        SecretStr,
        Form(
            f"a URL such as {DATABASE_URL_FORM}",
            f"the database's URL, {DATABASE_URL_FORM}, with the user that carillon-migrate api-role creates; the Helm"
            " chart takes it from the Secret that database.existingSecret names: from the key api-database-url if"
            " database.apiRole is true, else from database-url",
        ),
    ] = Field(
        validation_alias="DATABASE_URL",
        description="The database with the history. Use the user that `carillon-migrate api-role` creates.",
    )
    host: Annotated[str, AfterValidator(_host), Form("an address or a host name")] = Field(
        default="127.0.0.1", validation_alias="CARILLON_API_HOST", description="The address to listen on."
    )
    port: WholeNumber = Field(
        default=8080, ge=1, le=MOST_PORT, validation_alias="CARILLON_API_PORT", description="The port to listen on."
    )
    default_namespace: Annotated[str, AfterValidator(_namespace), Form("a namespace")] = Field(
        default_factory=_first_served,
        validation_alias="CARILLON_DEFAULT_NAMESPACE",
        description=(
            "The namespace of requests that name none, such as `POST /api/v1/tasks`. Default: the first of"
            " `CARILLON_NAMESPACES`, or `default`."
        ),
    )
    token_audiences: Words = Field(
        default=(),
        validation_alias="CARILLON_TOKEN_AUDIENCES",
        description="The audiences that bearer tokens must be issued for. Default: the Kubernetes API server's own.",
    )
    api_keys_secret: Annotated[
        tuple[str, str] | None, NoDecode, BeforeValidator(_secret_name), Form("namespace/name")
    ] = Field(
        default=None,
        validation_alias="CARILLON_API_KEYS_SECRET",
        description="The Secret that holds API keys. Default: API keys are not accepted.",
    )
    trusted_proxies: Annotated[
        tuple[Network, ...], NoDecode, BeforeValidator(_networks), Form("networks, separated by commas")
    ] = Field(
        default=(),
        validation_alias="CARILLON_TRUSTED_PROXIES",
        description="The proxies whose `X-Forwarded-For` is trusted.",
    )
    rate_limit: WholeNumber = Field(
        default=50,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_RATE_LIMIT",
        description="Requests per second that each replica accepts from one caller.",
    )
    rate_burst: WholeNumber = Field(
        default=100,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_RATE_BURST",
        description="Requests that one caller may make at once, before the rate limit applies.",
    )
    failed_auth_burst: WholeNumber = Field(
        default=20,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_FAILED_AUTH_BURST",
        description="Failed authentications that one address may make at once; one more is allowed each second.",
    )
    connections_per_address: WholeNumber = Field(
        default=500,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_CONNECTIONS_PER_ADDRESS",
        description="Connections that one address may have to each replica. Trusted proxies are not limited.",
    )
    event_streams: WholeNumber = Field(
        default=1000,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_EVENT_STREAMS",
        description="Streams of `/api/v1/events` that each replica serves at once.",
    )
    event_streams_per_caller: WholeNumber = Field(
        default=50,
        ge=1,
        le=MOST_RATE,
        validation_alias="CARILLON_EVENT_STREAMS_PER_CALLER",
        description="Streams of `/api/v1/events` that each replica serves to one caller at once.",
    )
    metrics_public: Switch = Field(
        default=True,
        validation_alias="CARILLON_METRICS_PUBLIC",
        description="Whether `/metrics` is served without authentication.",
    )
    cors_origins: Annotated[Words, AfterValidator(_origins), Form("origins, separated by commas, or *")] = Field(
        default=(),
        validation_alias="CARILLON_CORS_ORIGINS",
        description="The origins whose web pages may call the API. `*` allows every origin.",
    )

    @model_validator(mode="after")
    def _default_is_served(self) -> Self:
        if not self.scope.holds(self.default_namespace):
            msg = (
                f"CARILLON_DEFAULT_NAMESPACE: must be in {SETTING}, one of {self.scope}"
                f' (got "{self.default_namespace}")'
            )
            raise ValueError(msg)
        return self
