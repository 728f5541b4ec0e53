"""The operator's settings, read once from the environment by ``__main__``.

``Variables`` and the other settings models have one field per variable;
``Settings`` is derived from them and passed to the application.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import NoDecode

from carillon_core.adapters.postgres.engine import credentials
from carillon_core.adapters.postgres.roles.namespace_login import namespace_url
from carillon_core.domain.egress.rules import CLOSED, AllowList, parse_allow_list
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate
from carillon_core.domain.scope import Scope
from carillon_core.domain.shard import Shard
from carillon_core.domain.validity.pod_validity import default_problems
from carillon_core.errors import SettingsError
from carillon_core.name_patterns import is_dns_label
from carillon_core.resources.field_problems import field_problems
from carillon_core.resources.names import RUNNER_SECRET
from carillon_core.resources.pods import PodSettings
from carillon_core.settings import (
    MOST_NUMBER,
    MOST_PORT,
    RETENTION_DAYS,
    CommonSettings,
    DatabaseURL,
    Form,
    HistorySettings,
    Switch,
    WholeNumber,
)
from carillon_operator.lease_settings import LeaseSettings, LeaseVariables
from carillon_operator.recorder_settings import RecorderSettings
from carillon_operator.webhook_settings import WebhookSettings

MIN_TOKEN_KEY_LENGTH = 32
MOST_SHARDS = 100
MOST_TASK_METRICS = 100_000

_TOKEN_KEY_FORM = f"at least {MIN_TOKEN_KEY_LENGTH} random characters, such as `openssl rand -hex 32` prints"


def _image(image: str) -> str:
    if any(c.isspace() for c in image):
        msg = "must be one image reference, without white space"
        raise ValueError(msg)
    return image


def _queue(name: str) -> str:
    if not is_dns_label(name):
        msg = f'must be at most 63 lower-case letters, digits and hyphens (got "{name}")'
        raise ValueError(msg)
    return name


def _allow_list(value: Any) -> Any:
    return parse_allow_list(value) if isinstance(value, str) else value


def _pod_settings(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        defaults = PodSettings.model_validate(json.loads(value))
    except ValidationError as error:
        msg = "; ".join(str(problem) for problem in field_problems(error, PodSettings, "CARILLON_POD_DEFAULTS"))
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f'must be a JSON object such as {{"nodeSelector": {{"pool": "batch"}}}} ({error})'
        raise ValueError(msg) from error
    if problems := default_problems(defaults):
        msg = "; ".join(str(problem) for problem in problems)
        raise ValueError(msg)
    return defaults


def _token_key(secret: SecretStr) -> SecretStr:
    if (length := len(secret.get_secret_value())) < MIN_TOKEN_KEY_LENGTH:
        msg = f"must be {_TOKEN_KEY_FORM} (got {length} characters)"
        raise ValueError(msg)
    return secret


class Variables(HistorySettings, CommonSettings):
    """The operator's variables, except those of its Lease and its webhook."""

    database_url: DatabaseURL = Field(
        validation_alias="DATABASE_URL", description="The database with the history; the operator's login owns it."
    )
    runner_database_url: Annotated[SecretStr | None, Form("a URL like DATABASE_URL")] = Field(
        default=None,
        validation_alias="CARILLON_RUNNER_DATABASE_URL",
        description="Without a recorder: the database URL of runner pods, with the user that"
        " `carillon-migrate runner-role` creates. Default: `DATABASE_URL`.",
    )
    runner_logins: Literal["shared", "namespace"] = Field(
        default="shared",
        validation_alias="CARILLON_RUNNER_LOGINS",
        description="Without a recorder: whether the runner pods of all namespaces log in to the database as the user"
        " of `CARILLON_RUNNER_DATABASE_URL` (`shared`), or those of each `namespace` as a user of their own, which"
        " `carillon-migrate runner-role --namespace NAME` creates.",
    )
    runner_role_required: Switch = Field(
        default=False,
        validation_alias="CARILLON_RUNNER_ROLE_REQUIRED",
        description="Whether the operator refuses to start with neither `CARILLON_RECORDER_URL` nor"
        " `CARILLON_RUNNER_DATABASE_URL`.",
    )
    runner_image: Annotated[
        str,
        AfterValidator(_image),
        Form("an image reference", "the runner's image, such as carillon-runner:0.1.0"),
    ] = Field(validation_alias="CARILLON_RUNNER_IMAGE", description="The image of runner pods.")
    runner_secret: Annotated[str, Form("the name of a Secret")] = Field(
        default=RUNNER_SECRET,
        validation_alias="CARILLON_RUNNER_SECRET",
        description="Without a recorder: the Secret with the runners' database URL, which the operator keeps in each"
        " namespace.",
    )
    target_secrets: Literal["labelled", "any"] = Field(
        default="labelled",
        validation_alias="CARILLON_TARGET_SECRETS",
        description='Which Secrets an HTTPTarget may use: those with the label `carillon.dev/http-target: "true"`'
        " (`labelled`; the operator needs `get` on Secrets, and reads their metadata only), or `any`. Set `any` only"
        " with an admission webhook whose failure policy is Fail, or where a namespace's users may read its Secrets.",
    )
    token_key: Annotated[SecretStr | None, AfterValidator(_token_key), Form(_TOKEN_KEY_FORM)] = Field(
        default=None,
        validation_alias="CARILLON_TOKEN_KEY",
        description="The secret from which the key of the execution tokens is derived. Default: the password in"
        " `DATABASE_URL`.",
    )
    http_allow: Annotated[
        AllowList,
        NoDecode,
        BeforeValidator(_allow_list),
        Form("networks, addresses and names, separated by commas, each with an optional :port"),
    ] = Field(
        default=CLOSED,
        validation_alias="CARILLON_HTTP_ALLOW",
        description="The destinations, besides public addresses, that HTTP tasks may reach, such as"
        " `*.svc,10.96.0.0/12`. Default: none.",
    )
    pod_defaults: Annotated[
        PodSettings, NoDecode, BeforeValidator(_pod_settings), Form("JSON, as in a task's spec.pod")
    ] = Field(
        default_factory=PodSettings,
        validation_alias="CARILLON_POD_DEFAULTS",
        description='Defaults of every pod, such as `{"nodeSelector": {"pool": "batch"}}`; a task\'s `spec.pod` wins.',
    )
    queue_name: Annotated[str | None, AfterValidator(_queue), Form("the name of a LocalQueue")] = Field(
        default=None,
        validation_alias="CARILLON_QUEUE_NAME",
        description="The Kueue LocalQueue of tasks that name none. Default: such tasks are not queued.",
    )
    workers: WholeNumber = Field(
        default=32,
        ge=1,
        le=MOST_NUMBER,
        validation_alias="CARILLON_WORKERS",
        description="The number of tasks that are reconciled at the same time.",
    )
    sweep_seconds: WholeNumber = Field(
        default=60,
        ge=1,
        le=MOST_NUMBER,
        validation_alias="CARILLON_SWEEP_SECONDS",
        description="The seconds between two comparisons of open executions with existing Jobs.",
    )
    liveness_endpoint: Annotated[str | None, Form("a URL to listen on")] = Field(
        default=None,
        validation_alias="CARILLON_LIVENESS_ENDPOINT",
        description="Where the liveness probe is served, such as `http://0.0.0.0:8081/healthz`. Default: nowhere.",
    )
    ready_file: Annotated[Path | None, Form("a path")] = Field(
        default=None,
        validation_alias="CARILLON_READY_FILE",
        description="A file that is created when the operator is ready, for a readiness probe.",
    )
    metrics_port: Annotated[WholeNumber | None, Form("a port")] = Field(
        default=None,
        ge=1,
        le=MOST_PORT,
        validation_alias="CARILLON_METRICS_PORT",
        description="The port of the operator's Prometheus metrics, at `/metrics`. Default: they are not served.",
    )
    task_metrics: WholeNumber = Field(
        default=1000,
        ge=0,
        le=MOST_TASK_METRICS,
        validation_alias="CARILLON_TASK_METRICS",
        description="How many tasks, oldest first, have their own metrics. Tasks with the label"
        " `carillon.dev/metrics=true` always have them, up to 10,000 tasks.",
    )
    state_folder: Annotated[Path | None, Form("a path")] = Field(
        default=None,
        validation_alias="CARILLON_STATE_FOLDER",
        description="A folder that outlives the process, such as an `emptyDir` of its pod. There the operator notes"
        " which object it is working on, so that an object that makes it crash or hang is set aside after the"
        " restart. Default: it forgets them.",
    )
    shards: WholeNumber = Field(
        default=1,
        ge=1,
        le=MOST_SHARDS,
        validation_alias="CARILLON_SHARDS",
        description="The number of operators that share the tasks. Change it only while no operator is running.",
    )
    shard: WholeNumber = Field(
        default=0,
        ge=0,
        le=MOST_SHARDS - 1,
        validation_alias="CARILLON_SHARD",
        description="Which shard this operator is, from 0 to `CARILLON_SHARDS` - 1.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that the application takes."""

    database_url: str = field(repr=False)
    runner_database_url: str | None = field(repr=False)
    """The URL that runner pods record with, or from which those of their namespaces are derived."""
    runner: RunnerTemplate
    """The settings that all runner pods share."""
    scope: Scope = field(default_factory=Scope)
    """The namespaces whose tasks it runs. Each belongs to one operator, or to several that share a Lease."""
    kubeconfig: str | None = None
    workers: int = 32
    sweep_seconds: int = 60
    history_retention_days: int = RETENTION_DAYS
    liveness_endpoint: str | None = None
    """The URL of the liveness probe: kopf responds with 200 if the operator's own loop is alive, else with 500."""
    ready_file: Path | None = None
    metrics_port: int | None = None
    task_metrics: int = 1000
    state_folder: Path | None = None
    """Where the guard keeps its files."""
    recorder: RecorderSettings | None = None
    """None: runner pods record in the database themselves."""
    lease: LeaseSettings | None = None
    """None: the operator decides without a Lease."""
    shard: Shard = field(default_factory=Shard)
    """Two operators with different numbers of shards would both decide about some tasks."""
    runner_logins: Literal["shared", "namespace"] = "shared"
    """Whether each namespace's runner pods have a login of their own."""
    target_secrets: Literal["labelled", "any"] = "labelled"
    """Which Secrets an HTTPTarget may use."""
    webhook: WebhookSettings | None = None
    """None: there is no webhook."""
    log_level: str = "INFO"
    log_format: str = "json"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: Names each variable that is wrong, and says what its value must be.

        """
        given = Variables.from_env(env)
        shard = _shard(given)
        recorder = RecorderSettings.from_env(env) if _is_set(env, "CARILLON_RECORDER_URL") else None
        database_url = given.database_url.get_secret_value()
        return cls(
            database_url=database_url,
            runner_database_url=_runner_database_url(given, database_url, recorder),
            recorder=recorder,
            runner=RunnerTemplate(
                image=given.runner_image,
                token_key=_key(given, database_url),
                secret_name=given.runner_secret,
                http_allow=given.http_allow,
                pod=given.pod_defaults,
                queue_name=given.queue_name,
            ),
            scope=given.scope,
            kubeconfig=given.kubeconfig,
            workers=given.workers,
            sweep_seconds=given.sweep_seconds,
            history_retention_days=given.history_retention_days,
            liveness_endpoint=given.liveness_endpoint,
            ready_file=given.ready_file,
            metrics_port=given.metrics_port,
            task_metrics=given.task_metrics,
            state_folder=given.state_folder,
            lease=LeaseVariables.from_env(env).of_shard(shard) if _is_set(env, "CARILLON_LEASE_NAMESPACE") else None,
            shard=shard,
            runner_logins=given.runner_logins,
            target_secrets=given.target_secrets,
            webhook=WebhookSettings.from_env(env) if _is_set(env, "CARILLON_WEBHOOK_PORT") else None,
            log_level=given.log_level,
            log_format=given.log_format,
        )

    @property
    def runners_own_all(self) -> bool:
        """Whether runners log in as the operator does, and so may read and alter the whole history."""
        if self.runner_database_url is None:
            return False
        runner, _ = credentials(self.runner_database_url, "CARILLON_RUNNER_DATABASE_URL")
        return runner == credentials(self.database_url)[0]


def _is_set(env: Mapping[str, str], name: str) -> bool:
    return bool(env.get(name, "").strip())


def _shard(given: Variables) -> Shard:
    if given.shard >= given.shards:
        raise SettingsError(
            f"CARILLON_SHARD: must be a number from 0 to {given.shards - 1}, as CARILLON_SHARDS is {given.shards}"
            f' (got "{given.shard}")'
        )
    return Shard(given.shard, given.shards)


def _runner_database_url(given: Variables, database_url: str, recorder: RecorderSettings | None) -> str | None:
    if recorder is not None:
        if given.runner_database_url is not None:
            raise SettingsError(
                "CARILLON_RUNNER_DATABASE_URL: must not be set together with CARILLON_RECORDER_URL: the recorder logs"
                " in to the database, runners do not"
            )
        return None
    if given.runner_database_url is None:
        if given.runner_logins == "namespace":
            raise SettingsError(
                "CARILLON_RUNNER_DATABASE_URL: must be set while CARILLON_RUNNER_LOGINS is namespace: the logins of the"
                " namespaces are derived from it"
            )
        if given.runner_role_required:
            raise SettingsError(
                "CARILLON_RUNNER_DATABASE_URL: must be set to the URL of a user for runners, or CARILLON_RECORDER_URL"
                " to that of a recorder, because CARILLON_RUNNER_ROLE_REQUIRED is true; without either, runners would"
                " own the database. In the chart's Secret it is the key runner-database-url"
            )
        return database_url
    url = given.runner_database_url.get_secret_value()
    credentials(url, "CARILLON_RUNNER_DATABASE_URL")  # a wrong URL is refused now, not by each runner
    if given.runner_logins == "namespace":
        namespace_url(url, "default")  # the same
    return url


def _key(given: Variables, database_url: str) -> TokenKey:
    """Return the key of the execution tokens. It cannot be in the database: launching goes on while that is down."""
    _, password = credentials(database_url)
    secret = password if given.token_key is None else given.token_key.get_secret_value()
    if not secret:
        raise SettingsError(
            f"CARILLON_TOKEN_KEY: must be set to {_TOKEN_KEY_FORM}, because DATABASE_URL has no password to derive it"
            " from"
        )
    return TokenKey.derived(secret)
