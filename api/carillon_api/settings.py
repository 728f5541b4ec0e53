"""The facade's settings, read once from the environment by ``__main__``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from carillon_api.schemas.checks import dns_label_problem, is_dns_subdomain
from carillon_core.domain.scope import SETTING, Scope
from carillon_core.errors import SettingsError
from carillon_core.logs import LEVELS
from carillon_core.settings import choice, positive_int, required, scope

Network = IPv4Network | IPv6Network

MOST_RATE = 1_000_000
DATABASE_URL_MEND = (
    "set it to the database's URL, postgresql://user:password@host:5432/name, with the user that carillon-migrate"
    " api-role makes; the Helm chart takes it from the key api-database-url of the Secret that database.existingSecret"
    " names if database.apiRole is true, and from database-url if not"
)

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the facade can be told from outside; each field names its variable."""

    database_url: str
    """``DATABASE_URL``: where the history is read; with the user that ``carillon-migrate api-role`` makes."""
    kubeconfig: str | None = None
    """``KUBECONFIG``; in a pod, the service account is used without it."""
    host: str = "127.0.0.1"
    """``CARILLON_API_HOST``: the address to listen on."""
    port: int = 8080
    """``CARILLON_API_PORT``: the port to listen on."""
    scope: Scope = field(default_factory=Scope)
    """``CARILLON_NAMESPACES``: the namespaces, by commas, that are served; all if unset."""
    default_namespace: str = "default"
    """``CARILLON_DEFAULT_NAMESPACE``: where ``POST /api/v1/tasks`` creates tasks; one of those that are served, the
    first of them if it is unset."""
    token_audiences: tuple[str, ...] = ()
    """``CARILLON_TOKEN_AUDIENCES``: for whom bearer tokens must be made, by commas; the API server's own without it."""
    api_keys_secret: tuple[str, str] | None = None
    """``CARILLON_API_KEYS_SECRET``: the Secret with the API keys, namespace/name; there are no API keys without it."""
    trusted_proxies: tuple[Network, ...] = ()
    """``CARILLON_TRUSTED_PROXIES``: the networks, by commas, whose ``X-Forwarded-For`` is believed."""
    rate_limit: int = 50
    """``CARILLON_RATE_LIMIT``: how many requests a second each caller may make, of each replica."""
    rate_burst: int = 100
    """``CARILLON_RATE_BURST``: how many at once."""
    failed_auth_burst: int = 20
    """``CARILLON_FAILED_AUTH_BURST``: how many credentials that are nobody's an address may show at once; one more each
    second."""
    metrics_public: bool = True
    """``CARILLON_METRICS_PUBLIC``: whether ``/metrics`` is served without a credential: true or false."""
    cors_origins: tuple[str, ...] = ()
    """``CARILLON_CORS_ORIGINS``: the origins, by commas, whose pages may call the API; ``*`` for any."""
    log_level: str = "INFO"
    """``CARILLON_LOG_LEVEL``."""
    log_format: str = "json"
    """``CARILLON_LOG_FORMAT``: ``json`` or ``text``."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: Naming the variable and the mend.

        """
        host = env.get("CARILLON_API_HOST", "").strip() or "127.0.0.1"
        if any(c.isspace() or c == "/" for c in host):
            raise SettingsError(f"CARILLON_API_HOST is {host!r}: set it to an address or a host name, such as 0.0.0.0")
        served = scope(env)
        return cls(
            database_url=required(env, "DATABASE_URL", DATABASE_URL_MEND),
            kubeconfig=env.get("KUBECONFIG") or None,
            host=host,
            port=positive_int(env, "CARILLON_API_PORT", 8080, most=65_535),
            scope=served,
            default_namespace=_default_namespace(env, served),
            token_audiences=_words(env, "CARILLON_TOKEN_AUDIENCES"),
            api_keys_secret=_secret_name(env),
            trusted_proxies=_networks(env),
            rate_limit=positive_int(env, "CARILLON_RATE_LIMIT", 50, most=MOST_RATE),
            rate_burst=positive_int(env, "CARILLON_RATE_BURST", 100, most=MOST_RATE),
            failed_auth_burst=positive_int(env, "CARILLON_FAILED_AUTH_BURST", 20, most=MOST_RATE),
            metrics_public=choice(env, "CARILLON_METRICS_PUBLIC", ("true", "false"), "true") == "true",
            cors_origins=_origins(env),
            log_level=choice(env, "CARILLON_LOG_LEVEL", LEVELS, "INFO"),
            log_format=choice(env, "CARILLON_LOG_FORMAT", ("json", "text"), "json"),
        )


def _default_namespace(env: Mapping[str, str], served: Scope) -> str:
    first, *_ = (*served.namespaces, "default")
    namespace = env.get("CARILLON_DEFAULT_NAMESPACE", "").strip() or first
    if problem := dns_label_problem(namespace):
        raise SettingsError(f"CARILLON_DEFAULT_NAMESPACE is {namespace!r}: it {problem}")
    if not served.holds(namespace):
        raise SettingsError(
            f"CARILLON_DEFAULT_NAMESPACE is {namespace!r}, which is not in {SETTING}: set it to one of {served}"
        )
    return namespace


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    origins = _words(env, "CARILLON_CORS_ORIGINS")
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            mend = "set it to origins as a browser sends them, such as https://console.example.com, without a path"
            raise SettingsError(f"CARILLON_CORS_ORIGINS is {origin!r}: {mend}")
    return origins


def _secret_name(env: Mapping[str, str]) -> tuple[str, str] | None:
    text = env.get("CARILLON_API_KEYS_SECRET", "").strip()
    if not text:
        return None
    namespace, _, name = text.partition("/")
    if dns_label_problem(namespace) or not is_dns_subdomain(name):
        mend = "set it to the namespace and the name of a Secret, such as carillon-system/carillon-api-keys"
        raise SettingsError(f"CARILLON_API_KEYS_SECRET is {text!r}: {mend}")
    return namespace, name


def _networks(env: Mapping[str, str]) -> tuple[Network, ...]:
    networks = []
    for word in _words(env, "CARILLON_TRUSTED_PROXIES"):
        try:
            networks.append(ip_network(word))
        except ValueError as error:
            mend = "set it to networks such as 10.0.0.0/8,fd00::/8"
            raise SettingsError(f"CARILLON_TRUSTED_PROXIES is {word!r}: {mend}") from error
    return tuple(networks)
