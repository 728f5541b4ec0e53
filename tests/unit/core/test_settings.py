"""How settings are read: what counts as unset, what an error says, and that secrets are not shown."""

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
    """Return what a wrong environment is told."""
    with pytest.raises(SettingsError) as caught:
        Program.from_env(env)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_blank_variable_counts_as_unset() -> None:
    """Blanks around a value are dropped; variables of others do no harm."""
    given = Program.from_env({"PASSWORD": f" {SECRET}\n", "NUMBER": "", "SWITCH": " ", "HOME": "/"})
    assert given == Program(password=SecretStr(SECRET))


def test_the_process_s_own_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is constructed, and what is read from an environment that is given, is the same everywhere."""
    monkeypatch.setenv("NUMBER", "4")
    monkeypatch.setenv("CARILLON_LOG_LEVEL", "DEBUG")
    assert Program.from_env({"PASSWORD": SECRET}).number == Program(password=SecretStr(SECRET)).number == 3
    assert CommonSettings().log_level == "INFO"


def test_only_a_field_s_variable_is_read() -> None:
    """Not one that has the name of the field."""
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
    """And what it is, apart from secrets."""
    change, want = WRONG[case]
    assert error_of({"PASSWORD": SECRET} | change) == want


def test_a_secret_is_not_shown() -> None:
    """Neither in the settings' text nor in an error about another variable."""
    assert SECRET not in repr(Program.from_env({"PASSWORD": SECRET}))
    assert SECRET not in error_of({"PASSWORD": SECRET, "NUMBER": "0"})


def test_models_combine() -> None:
    """A variable that two programs share is described once."""

    class Both(HistorySettings, CommonSettings):
        """Two at once."""

    given = Both.from_env({"CARILLON_HISTORY_RETENTION_DAYS": "0", "CARILLON_LOG_FORMAT": "text"})
    assert (given.history_retention_days, given.log_format) == (0, "text")
