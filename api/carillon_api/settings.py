"""The facade's settings, read once from the environment by ``__main__``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from carillon_api.checks import dns_label_problem
from carillon_core.errors import SettingsError
from carillon_core.logs import LEVELS
from carillon_core.settings import choice, positive_int, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the facade can be told from outside; each field names its variable."""

    database_url: str
    """``DATABASE_URL``: where the history is read."""
    kubeconfig: str | None = None
    """``KUBECONFIG``; in a pod, the service account is used without it."""
    host: str = "127.0.0.1"
    """``CARILLON_API_HOST``: the address to listen on."""
    port: int = 8080
    """``CARILLON_API_PORT``: the port to listen on."""
    default_namespace: str = "default"
    """``CARILLON_DEFAULT_NAMESPACE``: where ``POST /api/v1/tasks`` creates tasks."""
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
        namespace = env.get("CARILLON_DEFAULT_NAMESPACE", "").strip() or "default"
        if problem := dns_label_problem(namespace):
            raise SettingsError(f"CARILLON_DEFAULT_NAMESPACE is {namespace!r}: it {problem}")
        return cls(
            database_url=required(
                env, "DATABASE_URL", "set it to the database's URL, postgresql://user:password@host/db"
            ),
            kubeconfig=env.get("KUBECONFIG") or None,
            host=host,
            port=positive_int(env, "CARILLON_API_PORT", 8080, most=65_535),
            default_namespace=namespace,
            log_level=choice(env, "CARILLON_LOG_LEVEL", LEVELS, "INFO"),
            log_format=choice(env, "CARILLON_LOG_FORMAT", ("json", "text"), "json"),
        )
