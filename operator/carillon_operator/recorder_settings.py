"""The settings of the operator that say where runners find the recorder."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from carillon_core.settings import Form, ProgramSettings

_URL = re.compile(r"https?://[^\s/?#@]+")


def _url(text: str) -> str:
    if not _URL.fullmatch(text.rstrip("/")):
        msg = f'must be a URL without a path, such as https://carillon-recorder.carillon-system.svc:8443 (got "{text}")'
        raise ValueError(msg)
    return text.rstrip("/")


class RecorderSettings(ProgramSettings):
    """Where runners find the recorder. Read if its URL is set."""

    url: Annotated[str, AfterValidator(_url), Form("a URL without a path")] = Field(
        validation_alias="CARILLON_RECORDER_URL",
        description="The recorder that runner pods report to, `https://host:port`. Default: they log in to the database"
        " of `CARILLON_RUNNER_DATABASE_URL`, whose URL the operator keeps in a Secret of each namespace.",
    )
    ca_file: Annotated[Path | None, Form("a PEM file")] = Field(
        default=None,
        validation_alias="CARILLON_RECORDER_CA_FILE",
        description="The certificates that the recorder's must be signed by, for the pods. It is read again when it"
        " changes. Default: what the runner's image trusts.",
    )
