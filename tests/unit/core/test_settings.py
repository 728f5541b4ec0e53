"""Reading settings: unset values, error messages, and secrets, which are never shown."""

from collections.abc import Mapping

import pytest
from pydantic import Field, SecretStr

from carillon_core.errors import SettingsError
from carillon_core.settings import (
    CommonSettings,
    HistorySettings,
    LogLevel,
    ProgramSettings,
    Switch,
    WholeNumber,
    Words,
)

SECRET = "hunter2"  # noqa: S105  # made up


class Program(ProgramSettings):
    """A program's settings."""

    password: SecretStr = Field(validation_alias="PASSWORD", min_length=3)
    number: WholeNumber = Field(default=3, ge=1, le=9, validation_alias="NUMBER")
    switch: Switch = Field(default=False, validation_alias="SWITCH")
    words: Words = Field(default=(), validation_alias="WORDS")
    level: LogLevel = Field(default="INFO", validation_alias="LEVEL")


def error_of(env: Mapping[str, str]) -> str:
    """Return the error message for an invalid environment."""
    with pytest.raises(SettingsError) as caught:
        Program.from_env(env)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_blank_variable_counts_as_unset() -> None:
    """White space around a value is dropped; unknown variables are ignored."""
    given = Program.from_env({"PASSWORD": f" {SECRET}\n", "NUMBER": "", "SWITCH": " ", "HOME": "/"})
    assert given == Program(password=SecretStr(SECRET))


def test_the_process_s_own_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings depend only on the arguments, or on the given environment."""
    monkeypatch.setenv("NUMBER", "4")
    monkeypatch.setenv("CARILLON_LOG_LEVEL", "DEBUG")
    assert Program.from_env({"PASSWORD": SECRET}).number == Program(password=SecretStr(SECRET)).number == 3
    assert CommonSettings().log_level == "INFO"


def test_only_a_field_s_variable_is_read() -> None:
    """A variable with the name of the field is ignored."""
    assert Program.from_env({"PASSWORD": SECRET, "number": "4"}).number == 3


def test_values_are_parsed() -> None:
    """A list is separated by commas; an empty entry is dropped."""
    env = {"PASSWORD": SECRET, "NUMBER": "4", "SWITCH": "true", "WORDS": "a, b,,", "LEVEL": "ERROR"}
    given = Program.from_env(env)
    assert (given.number, given.switch, given.words, given.level) == (4, True, ("a", "b"), "ERROR")


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a word": ({"NUMBER": "many"}, 'NUMBER: must be a number from 1 to 9 (got "many")'),
    "too small": ({"NUMBER": "0"}, 'NUMBER: must be a number from 1 to 9 (got "0")'),
    "too large": ({"NUMBER": "10"}, 'NUMBER: must be a number from 1 to 9 (got "10")'),
    "a fraction": ({"NUMBER": "5.0"}, 'NUMBER: must be a number from 1 to 9 (got "5.0")'),
    "neither true nor false": ({"SWITCH": "yes"}, 'SWITCH: must be true or false (got "yes")'),
    "none of the choices": ({"LEVEL": "info"}, 'LEVEL: must be DEBUG, INFO, WARNING or ERROR (got "info")'),
    "missing": ({"PASSWORD": ""}, "PASSWORD: must be set to text"),
    "a secret": ({"PASSWORD": "no"}, "PASSWORD: must be text"),
    "two": (
        {"NUMBER": "0", "SWITCH": "1"},
        'NUMBER: must be a number from 1 to 9 (got "0"); SWITCH: must be true or false (got "1")',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_the_variable_and_what_it_must_be(case: str) -> None:
    """It also has the actual value, except for secrets."""
    change, want = WRONG[case]
    assert error_of({"PASSWORD": SECRET} | change) == want


def test_a_secret_is_not_shown() -> None:
    """It appears neither in the settings' text nor in errors about other variables."""
    assert SECRET not in repr(Program.from_env({"PASSWORD": SECRET}))
    assert SECRET not in error_of({"PASSWORD": SECRET, "NUMBER": "0"})


def test_models_combine() -> None:
    """A variable that two programs share is defined once."""

    class Both(HistorySettings, CommonSettings):
        """Two models combined."""

    given = Both.from_env({"CARILLON_HISTORY_RETENTION_DAYS": "0", "CARILLON_LOG_FORMAT": "text"})
    assert (given.history_retention_days, given.log_format) == (0, "text")
