"""The recorder's settings."""

import pytest

from carillon_core.errors import SettingsError
from carillon_recorder.settings import Settings

SOUND = {"DATABASE_URL": "postgresql://runner:hunter2@db/carillon"}
FILES = {"CARILLON_RECORDER_CERT_FILE": "/tls/tls.crt", "CARILLON_RECORDER_KEY_FILE": "/tls/tls.key"}


def test_the_defaults_are_a_loopback_address_without_tls() -> None:
    """For a machine of one's own; the chart sets both."""
    settings = Settings.from_env(SOUND)
    assert (settings.host, settings.port, settings.cert_file) == ("127.0.0.1", 8090, None)
    assert (settings.connections, settings.waiting) == (20, 1000)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", ""),
        ("CARILLON_RECORDER_PORT", "http"),
        ("CARILLON_RECORDER_CONNECTIONS", "0"),
        ("CARILLON_RECORDER_WAITING", "-1"),
        ("CARILLON_RECORDER_CERT_FILE", ""),
        ("CARILLON_RECORDER_KEY_FILE", ""),
        ("CARILLON_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, value: str) -> None:
    """And the password is not."""
    with pytest.raises(SettingsError, match=f"^{variable}: must be ") as refused:
        Settings.from_env({**SOUND, **FILES, variable: value})
    assert "hunter2" not in str(refused.value)
