"""The settings of the admission webhook."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from carillon_core.settings import MOST_PORT, Form, ProgramSettings, WholeNumber


def _named(name: str) -> str:
    if not all(name.partition("/")):
        msg = f'must be namespace/name (got "{name}")'
        raise ValueError(msg)
    return name


_PEMFile = Annotated[Path, Form("a PEM file", "a PEM file; to run without the webhook, unset CARILLON_WEBHOOK_PORT")]


class WebhookSettings(ProgramSettings):
    """The admission webhook: where it listens, and how the API server reaches it. Read if its port is set."""

    port: WholeNumber = Field(
        ge=1,
        le=MOST_PORT,
        validation_alias="CARILLON_WEBHOOK_PORT",
        description="The port of the admission webhook. Default: there is no webhook.",
    )
    cert_file: _PEMFile = Field(
        validation_alias="CARILLON_WEBHOOK_CERT_FILE",
        description="The webhook's certificate. Required with a webhook. It is read again when it changes.",
    )
    key_file: _PEMFile = Field(
        validation_alias="CARILLON_WEBHOOK_KEY_FILE",
        description="The private key of the certificate. Required with a webhook.",
    )
    ca_file: Annotated[Path | None, Form("a PEM file")] = Field(
        default=None,
        validation_alias="CARILLON_WEBHOOK_CA_FILE",
        description="The CA that the API server is told to trust. Default: the certificate itself.",
    )
    address: Annotated[str | None, Form("an address")] = Field(
        default=None,
        validation_alias="CARILLON_WEBHOOK_ADDRESS",
        description="The address to listen on. Default: all addresses.",
    )
    host: Annotated[str | None, Form("a host name or an address")] = Field(
        default=None,
        validation_alias="CARILLON_WEBHOOK_HOST",
        description="The host that the API server calls, for an operator outside the cluster.",
    )
    service: Annotated[str | None, AfterValidator(_named), Form("namespace/name")] = Field(
        default=None,
        validation_alias="CARILLON_WEBHOOK_SERVICE",
        description=(
            "The Service that the API server calls, on port 443. With neither a Service nor a host, the operator"
            " leaves the webhook configuration to others, such as the chart."
        ),
    )
    secret: Annotated[str | None, AfterValidator(_named), Form("namespace/name")] = Field(
        default=None,
        validation_alias="CARILLON_WEBHOOK_SECRET",
        description=(
            "The Secret of the certificate (`tls.crt`, `tls.key`, `ca.crt`), which the operator renews after two thirds"
            " of its lifetime. Default: something else renews it, such as cert-manager."
        ),
    )
    configuration: Annotated[str, Form("a name")] = Field(
        default="carillon",
        validation_alias="CARILLON_WEBHOOK_CONFIGURATION",
        description="With `CARILLON_WEBHOOK_SECRET`: the ValidatingWebhookConfiguration whose `caBundle` is renewed.",
    )
    failure_policy: Literal["Ignore", "Fail"] = Field(
        default="Ignore",
        validation_alias="CARILLON_WEBHOOK_FAILURE_POLICY",
        description="Whether requests are let through (`Ignore`) or refused (`Fail`) while the webhook is down, or"
        " cannot find out whether their author has the necessary permissions.",
    )
