"""Reads the programs' settings: one model per program, one field per environment variable.

``docs/settings.md`` is generated from the models, so each field has a
description. An error names the variable, the form of a valid value and the
actual value: ``CARILLON_API_PORT: must be a number from 1 to 65535 (got
"http")``. The values of secrets appear in no error and no ``repr``.

The runner does not use this module: pydantic would slow down the start of each
pod (see ``carillon_runner.environment``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from carillon_core.domain.scope import SETTING, Scope
from carillon_core.errors import SettingsError
from carillon_core.name_patterns import is_dns_label

DATABASE_URL_FORM = "postgresql://user:password@host:5432/name"
RETENTION_DAYS = 400
MOST_RETENTION_DAYS = 36_500
MOST_PORT = 65_535
MOST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Form:
    """Describes the value of a variable for the settings page and for errors; metadata of a field."""

    text: str
    """A phrase that completes "must be", such as ``namespace/name``."""
    if_missing: str = ""
    """For a variable that is required: completes "must be set to"."""


class ProgramSettings(BaseSettings):
    """The base of a program's settings; each field names its variable by ``validation_alias``."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        case_sensitive=True,
        populate_by_name=True,
        validate_default=False,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the base class's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from arguments only: ``from_env`` passes the environment, and a constructor reads none."""
        return (init_settings,)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings from an environment; a variable that is empty or blank counts as unset.

        Raises:
            SettingsError: Names each variable that is wrong, and says what its value must be.

        """
        variables = [variable_of(*field) for field in cls.model_fields.items()]
        given: dict[str, str | None] = {name: text for name in variables if (text := env.get(name, "").strip())}
        source = EnvSettingsSource(cls, case_sensitive=True)
        source.env_vars = given
        try:
            return cls(**source())
        except ValidationError as error:
            errors = error.errors(include_url=False)
            # a default that needs other fields is not made while one of them is wrong, which is an error of its own
            sentences = [_sentence(cls, each, given) for each in errors if each["type"] != "default_factory_not_called"]
            raise SettingsError("; ".join(sentences)) from None  # the cause repeats values, which may be secrets


def _whole_number(value: Any) -> Any:
    """Read what ``int`` reads; pydantic would also take "5.0"."""
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _switch(value: Any) -> Any:
    """Read true and false only; pydantic would also take "yes" and "1"."""
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else value


def words(value: Any) -> Any:
    """Split a list that is separated by commas; blanks and empty entries are dropped."""
    return tuple(word for part in value.split(",") if (word := part.strip())) if isinstance(value, str) else value


def read_scope(value: Any) -> Any:
    """Read ``CARILLON_NAMESPACES``: the namespaces that operator and API serve, separated by commas.

    Raises:
        ValueError: One is not a namespace's name or is listed twice, or there are commas only: a list, even an empty
            one, does not mean all namespaces.

    """
    if not isinstance(value, str):
        return value
    found = words(value)
    for name in found:
        if not is_dns_label(name):
            msg = (
                "must be names of at most 63 lower-case letters, digits and hyphens, separated by commas, such as"
                f' team-a,team-b (got "{name}")'
            )
            raise ValueError(msg)
        if found.count(name) > 1:
            msg = f'lists "{name}" twice: list each namespace once'
            raise ValueError(msg)
    if not found:
        msg = f'lists no namespace: list at least one, or unset it to serve all (got "{value}")'
        raise ValueError(msg)
    return Scope(tuple(sorted(found)))


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(words), Form("words, separated by commas")]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "text"]
DatabaseURL = Annotated[
    SecretStr,
    Form(
        f"a URL such as {DATABASE_URL_FORM}",
        f"the database's URL, {DATABASE_URL_FORM}; the Helm chart takes it from the key database-url of the Secret"
        " that database.existingSecret names",
    ),
]
Namespaces = Annotated[Scope, NoDecode, BeforeValidator(read_scope), Form("namespaces, separated by commas")]


class LogSettings(ProgramSettings):
    """How a program logs."""

    log_level: LogLevel = Field(
        default="INFO", validation_alias="CARILLON_LOG_LEVEL", description="The lowest level that is logged."
    )
    log_format: LogFormat = Field(
        default="json",
        validation_alias="CARILLON_LOG_FORMAT",
        description="`json` writes one object per line, `text` writes lines for people.",
    )


class CommonSettings(LogSettings):
    """The variables that the operator and the API share."""

    kubeconfig: str | None = Field(
        default=None,
        validation_alias="KUBECONFIG",
        description="The kubeconfig files, separated by colons. In a pod, the default is the service account.",
    )
    scope: Namespaces = Field(
        default_factory=Scope,
        validation_alias=SETTING,
        description="The namespaces to serve. Default: all. Give the operator and the API the same list.",
    )


class HistorySettings(ProgramSettings):
    """How long the history is kept: the operator and ``carillon-migrate maintain`` share the variable."""

    history_retention_days: WholeNumber = Field(
        default=RETENTION_DAYS,
        ge=0,
        le=MOST_RETENTION_DAYS,
        validation_alias="CARILLON_HISTORY_RETENTION_DAYS",
        description="A month of the history is deleted this many days after its end; 0 keeps the history for ever.",
    )


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a field."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def form_of(field: FieldInfo) -> str:
    """Return what a field's value must be, as a phrase that completes "must be"."""
    bounds = {type(each): each for each in field.metadata}
    if Form in bounds:
        return str(bounds[Form].text)
    if Ge in bounds and Le in bounds:
        return f"a number from {bounds[Ge].ge} to {bounds[Le].le}"
    if field.annotation is bool:
        return "true or false"
    options = get_args(field.annotation)
    if options and all(isinstance(option, str) for option in options):
        return _either(options)
    return "text"


def is_secret(field: FieldInfo) -> bool:
    """Return whether a field's value must not be shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _either(options: Sequence[str]) -> str:
    return f"{', '.join(options[:-1])} or {options[-1]}"


def _sentence(model: type[ProgramSettings], error: ErrorDetails, given: Mapping[str, str | None]) -> str:
    """Return an error of pydantic's as a sentence that names the variable."""
    if not error["loc"]:  # a rule about several fields: its message names the variable
        return str(error["ctx"]["error"])
    where = error["loc"][0]
    name, field = next(each for each in model.model_fields.items() if where in {each[0], variable_of(*each)})
    variable = variable_of(name, field)
    if error["type"] == "missing":
        form = next((each.if_missing for each in field.metadata if isinstance(each, Form)), "") or form_of(field)
        return f"{variable}: must be set to {form}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return message if message.startswith(variable) else f"{variable}: {message}"
    got = "" if is_secret(field) else f' (got "{given.get(variable)}")'
    return f"{variable}: must be {form_of(field)}{got}"
