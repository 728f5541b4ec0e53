"""Execution tokens: their content, and the derivation of their key."""

import base64
import hashlib
import hmac
import json

import pytest

from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.errors import SettingsError
from carillon_operator.settings import Settings

KEY = TokenKey(bytes(range(32)))
SOUND = {"DATABASE_URL": "postgresql://carillon:hunter2@db/carillon", "CARILLON_RUNNER_IMAGE": "runner:1"}
RANDOM = "0123456789abcdef" * 2


def test_a_token_is_a_key_s_id_a_payload_and_their_mac() -> None:
    """The MAC is HMAC-SHA256 with the key; None values are omitted."""
    key, payload, mac = KEY.token({"id": "a", "retry_of": None, "task": "ü"}).split(".")
    assert key == KEY.id
    assert json.loads(base64.b64decode(payload)) == {"id": "a", "task": "ü"}
    assert mac == hmac.new(KEY.key, f"{key}.{payload}".encode(), hashlib.sha256).hexdigest()


def test_the_pads_make_the_same_mac() -> None:
    """SQL computes the MAC from the pads."""
    inner, outer = KEY.pads
    want = hmac.new(KEY.key, b"said", hashlib.sha256).digest()
    assert hashlib.sha256(outer + hashlib.sha256(inner + b"said").digest()).digest() == want


def test_a_token_fits_where_it_stands() -> None:
    """It needs no escaping in a manifest's environment variable: it has no dollar sign and no line break."""
    token = KEY.token({"task": "$(PATH)\n" * 100})
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=.")


def test_a_key_is_shown_nowhere() -> None:
    """Its id does not reveal it either."""
    key = TokenKey.derived("hunter2")
    assert key.key.hex() not in repr(key) + key.id
    assert key.id not in hashlib.sha256(key.key).hexdigest()


def test_the_key_is_the_same_at_every_start() -> None:
    """Otherwise, a restart would invalidate tokens; a separate secret takes precedence over the database's password."""
    by_password = Settings.from_env(SOUND).runner.token_key
    assert by_password == Settings.from_env(SOUND | {"CARILLON_WORKERS": "2"}).runner.token_key
    by_key = Settings.from_env(SOUND | {"CARILLON_TOKEN_KEY": RANDOM}).runner.token_key
    assert by_key == TokenKey.derived(RANDOM) != by_password
    assert Settings.from_env(SOUND | {"DATABASE_URL": "postgresql://db/c?user=u&password=hunter2"}).runner == (
        Settings.from_env(SOUND).runner
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"CARILLON_TOKEN_KEY": RANDOM[1:]},
            "^CARILLON_TOKEN_KEY: must be at least 32 random characters, .* \\(got 31 characters\\)$",
        ),
        (
            {"DATABASE_URL": "postgresql://carillon@db/carillon"},
            "^CARILLON_TOKEN_KEY: must be set to at least 32 random characters, .* DATABASE_URL has no password",
        ),
        ({"DATABASE_URL": "mysql://carillon:hunter2@db/c"}, "^DATABASE_URL: must begin with postgresql://"),
        ({"CARILLON_RUNNER_DATABASE_URL": "hunter2"}, "^CARILLON_RUNNER_DATABASE_URL: must be a URL such as"),
    ],
)
def test_settings_that_make_no_key_or_no_login_are_refused(changed: dict[str, str], message: str) -> None:
    """The error names the variable and the fix, and contains no secret."""
    with pytest.raises(SettingsError, match=message) as caught:
        Settings.from_env(SOUND | changed)
    assert "hunter2" not in str(caught.value)
    assert RANDOM[1:] not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("", True),
        ("postgresql://carillon:another@elsewhere/carillon", True),
        ("postgresql://runner:hunter2@db/carillon", False),
    ],
)
def test_runners_of_the_operators_own_user_are_noticed(url: str, want: bool) -> None:  # noqa: FBT001  # a column of the table
    """An unset URL is the operator's own."""
    assert Settings.from_env(SOUND | {"CARILLON_RUNNER_DATABASE_URL": url}).runners_own_all is want
