"""The recorder's settings, read once from the environment by ``__main__``."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from carillon_core.settings import DATABASE_URL_FORM, MOST_PORT, Form, LogSettings, WholeNumber

MOST_CONNECTIONS = 1000
MOST_WAITING = 100_000

_PEMFile = Annotated[Path | None, Form("a PEM file")]


class Settings(LogSettings):
    """What can be set about the recorder."""

    database_url: Annotated[
        SecretStr,
        Form(
            f"a URL such as {DATABASE_URL_FORM}",
            f"the database's URL, {DATABASE_URL_FORM}, with the user that carillon-migrate runner-role creates; the"
            " Helm chart takes it from the key runner-database-url of the Secret that database.existingSecret names",
        ),
    ] = Field(
        validation_alias="DATABASE_URL",
        description="The database with the history. Use the user that `carillon-migrate runner-role` creates.",
    )
    host: Annotated[str, Form("an address or a host name")] = Field(
        default="127.0.0.1", validation_alias="CARILLON_RECORDER_HOST", description="The address to listen on."
    )
    port: WholeNumber = Field(
        default=8090,
        ge=1,
        le=MOST_PORT,
        validation_alias="CARILLON_RECORDER_PORT",
        description="The port to listen on.",
    )
    cert_file: _PEMFile = Field(
        default=None,
        validation_alias="CARILLON_RECORDER_CERT_FILE",
        description="The recorder's certificate. It is read again when it changes. Default: plain HTTP.",
    )
    key_file: _PEMFile = Field(
        default=None,
        validation_alias="CARILLON_RECORDER_KEY_FILE",
        description="The private key of the certificate. Required with one.",
    )
    connections: WholeNumber = Field(
        default=20,
        ge=1,
        le=MOST_CONNECTIONS,
        validation_alias="CARILLON_RECORDER_CONNECTIONS",
        description="The maximum number of connections to the database.",
    )
    waiting: WholeNumber = Field(
        default=1000,
        ge=0,
        le=MOST_WAITING,
        validation_alias="CARILLON_RECORDER_WAITING",
        description="How many requests may wait for a connection; the next one is told to come again.",
    )

    @model_validator(mode="after")
    def _key_comes_with_certificate(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            missing = "CARILLON_RECORDER_KEY_FILE" if self.key_file is None else "CARILLON_RECORDER_CERT_FILE"
            msg = f"{missing}: must be set to a PEM file, because a certificate and its key are used together"
            raise ValueError(msg)
        return self
