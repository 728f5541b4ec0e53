"""The facade's settings: defaults and error messages."""

from ipaddress import ip_network

import pytest
from pydantic import SecretStr

from carillon_api.settings import Settings
from carillon_core.errors import SettingsError

SOUND = {"DATABASE_URL": "postgresql://carillon@db/carillon"}


def test_only_the_database_must_be_named() -> None:
    """All other settings have defaults for a local machine; an empty variable counts as unset."""
    wanted = Settings(database_url=SecretStr(SOUND["DATABASE_URL"]))
    assert Settings.from_env(SOUND) == wanted
    empty = dict.fromkeys(("KUBECONFIG", "CARILLON_API_HOST", "CARILLON_API_PORT", "CARILLON_LOG_LEVEL"), "")
    assert Settings.from_env(SOUND | empty) == wanted
    assert (wanted.host, wanted.port, wanted.default_namespace) == ("127.0.0.1", 8080, "default")


def test_every_setting_is_read() -> None:
    """There is one variable for each field."""
    given = {
        **SOUND,
        "KUBECONFIG": "a:b",
        "CARILLON_API_HOST": "::",
        "CARILLON_API_PORT": "65535",
        "CARILLON_DEFAULT_NAMESPACE": "team-a",
        "CARILLON_TOKEN_AUDIENCES": "carillon, https://kubernetes.default.svc",
        "CARILLON_API_KEYS_SECRET": "carillon-system/carillon-api-keys",
        "CARILLON_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8,127.0.0.1",
        "CARILLON_RATE_LIMIT": "7",
        "CARILLON_RATE_BURST": "8",
        "CARILLON_METRICS_PUBLIC": "false",
        "CARILLON_CORS_ORIGINS": "https://console.example.com, http://[::1]:3000,*",
        "CARILLON_LOG_LEVEL": "DEBUG",
        "CARILLON_LOG_FORMAT": "text",
    }
    assert Settings.from_env(given) == Settings(
        database_url=SecretStr(SOUND["DATABASE_URL"]),
        kubeconfig="a:b",
        host="::",
        port=65_535,
        default_namespace="team-a",
        token_audiences=("carillon", "https://kubernetes.default.svc"),
        api_keys_secret=("carillon-system", "carillon-api-keys"),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32")),
        rate_limit=7,
        rate_burst=8,
        metrics_public=False,
        cors_origins=("https://console.example.com", "http://[::1]:3000", "*"),
        log_level="DEBUG",
        log_format="text",
    )


BAD: dict[str, tuple[str, str]] = {
    "no database": ("DATABASE_URL", ""),
    "a port that is a word": ("CARILLON_API_PORT", "http"),
    "a port of zero": ("CARILLON_API_PORT", "0"),
    "a port too high": ("CARILLON_API_PORT", "65536"),
    "a host that is a URL": ("CARILLON_API_HOST", "http://0.0.0.0"),
    "a namespace in capitals": ("CARILLON_DEFAULT_NAMESPACE", "Default"),
    "a namespace that is too long": ("CARILLON_DEFAULT_NAMESPACE", "a" * 64),
    "a Secret without a namespace": ("CARILLON_API_KEYS_SECRET", "carillon-api-keys"),
    "a Secret in capitals": ("CARILLON_API_KEYS_SECRET", "carillon/Keys"),
    "a Secret that is a path": ("CARILLON_API_KEYS_SECRET", "carillon/../x"),
    "a proxy that is a name": ("CARILLON_TRUSTED_PROXIES", "ingress"),
    "a network with host bits": ("CARILLON_TRUSTED_PROXIES", "10.0.0.1/8"),
    "a rate of nothing": ("CARILLON_RATE_LIMIT", "0"),
    "a burst that is a word": ("CARILLON_RATE_BURST", "many"),
    "metrics that are neither": ("CARILLON_METRICS_PUBLIC", "yes"),
    "an origin with a path": ("CARILLON_CORS_ORIGINS", "https://console.example.com/"),
    "an origin without a scheme": ("CARILLON_CORS_ORIGINS", "console.example.com"),
    "an origin that is a pattern": ("CARILLON_CORS_ORIGINS", "https://*.example.com"),
    "an unknown log level": ("CARILLON_LOG_LEVEL", "LOUD"),
    "an unknown log format": ("CARILLON_LOG_FORMAT", "xml"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_setting_is_named_with_the_mend(case: str) -> None:
    """The sentence begins with the variable and says what its value must be."""
    variable, value = BAD[case]
    with pytest.raises(SettingsError, match=rf"^{variable}: must "):
        Settings.from_env(SOUND | {variable: value})
