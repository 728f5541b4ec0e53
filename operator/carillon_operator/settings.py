"""The operator's settings, read once from the environment by ``__main__``."""

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import uuid4

from pydantic import ValidationError

from carillon_core.adapters.postgres.engine import credentials
from carillon_core.domain.egress.rules import read_allow_list
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RUNNER_SECRET, RunnerTemplate
from carillon_core.domain.scope import Scope
from carillon_core.domain.shard import Shard
from carillon_core.domain.validity.pod_validity import default_problems
from carillon_core.errors import SettingsError
from carillon_core.logs import LEVELS
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import field_problems
from carillon_core.resources.tasks import LABEL_NAME, PATTERN_MENDS
from carillon_core.settings import (
    DATABASE_URL_MEND,
    RETENTION_DAYS,
    choice,
    positive_int,
    required,
    retention_days,
    scope,
    whole_number,
)
from carillon_operator.leadership.election import LEASE_SECONDS, LeaseSettings

MIN_TOKEN_KEY_LENGTH = 32
LEASE_NAME = "carillon-operator"
MOST_SHARDS = 100

_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where the admission webhook serves, and how the API server finds it."""

    port: int
    """``CARILLON_WEBHOOK_PORT``: where it listens; unset, there is no webhook."""
    cert_file: Path
    """``CARILLON_WEBHOOK_CERT_FILE``: its certificate, PEM; read again when it changes."""
    key_file: Path
    """``CARILLON_WEBHOOK_KEY_FILE``: the certificate's key, PEM."""
    ca_file: Path | None = None
    """``CARILLON_WEBHOOK_CA_FILE``: what the API server trusts, PEM; its own trust store if unset."""
    address: str | None = None
    """``CARILLON_WEBHOOK_ADDRESS``: the address to listen on; all of them if unset."""
    host: str | None = None
    """``CARILLON_WEBHOOK_HOST``: the name in the URL by which the API server calls, outside a cluster."""
    service: str | None = None
    """``CARILLON_WEBHOOK_SERVICE``: ``namespace/name`` of the Service by which the API server calls, port 443. Without
    a service and a host the configuration is left to others, such as the chart."""
    failure_policy: str = "Ignore"
    """``CARILLON_WEBHOOK_FAILURE_POLICY``: ``Ignore`` lets users go on without the webhook; ``Fail`` does not."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self | None:
        """Read the settings; None without a port.

        Raises:
            SettingsError: Naming the variable and the mend.

        """
        if not env.get("CARILLON_WEBHOOK_PORT", "").strip():
            return None
        service = env.get("CARILLON_WEBHOOK_SERVICE") or None
        if service is not None and not all(service.partition("/")):
            raise SettingsError(f"CARILLON_WEBHOOK_SERVICE is {service!r}: set it to namespace/name")
        mend = "set it to a PEM file, or unset CARILLON_WEBHOOK_PORT to go without the webhook"
        ca_file = env.get("CARILLON_WEBHOOK_CA_FILE")
        return cls(
            port=positive_int(env, "CARILLON_WEBHOOK_PORT", 9443, most=65_535),
            cert_file=Path(required(env, "CARILLON_WEBHOOK_CERT_FILE", mend)),
            key_file=Path(required(env, "CARILLON_WEBHOOK_KEY_FILE", mend)),
            ca_file=Path(ca_file) if ca_file else None,
            address=env.get("CARILLON_WEBHOOK_ADDRESS") or None,
            host=env.get("CARILLON_WEBHOOK_HOST") or None,
            service=service,
            failure_policy=choice(env, "CARILLON_WEBHOOK_FAILURE_POLICY", ("Ignore", "Fail"), "Ignore"),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator can be told from outside; each field names its variable."""

    database_url: str
    """``DATABASE_URL``: where the operator records what was not launched, and closes what vanished."""
    runner_database_url: str
    """``CARILLON_RUNNER_DATABASE_URL``: what runner pods record with; ``DATABASE_URL`` if unset, unless
    ``CARILLON_RUNNER_ROLE_REQUIRED`` is true."""
    runner: RunnerTemplate
    """``CARILLON_RUNNER_IMAGE`` and ``CARILLON_RUNNER_SECRET``; ``CARILLON_HTTP_ALLOW``: which addresses that are not
    public HTTP tasks may reach, such as ``*.svc,10.96.0.0/12``, none if unset (see ``egress.AllowList``); and
    ``CARILLON_TOKEN_KEY``, of at least 32 characters, from which the key of the runners' tokens is made: from the
    password of ``DATABASE_URL`` if unset. ``CARILLON_POD_DEFAULTS``: where and how pods run whose tasks say no more, as
    JSON of a task's ``spec.pod``; ``CARILLON_QUEUE_NAME``: Kueue's LocalQueue for tasks that name none."""
    scope: Scope = field(default_factory=Scope)
    """``CARILLON_NAMESPACES``: the namespaces, by commas, whose tasks it runs; all if unset. Each belongs to one
    operator, or to several with one Lease."""
    kubeconfig: str | None = None
    """``KUBECONFIG``; in a pod, the service account is used without it."""
    workers: int = 32
    """``CARILLON_WORKERS``: how many tasks are reconciled at once."""
    sweep_seconds: int = 60
    """``CARILLON_SWEEP_SECONDS``: how often open executions are compared with the Jobs that exist."""
    history_retention_days: int = RETENTION_DAYS
    """``CARILLON_HISTORY_RETENTION_DAYS``: months that ended so many days ago are dropped; 0 keeps them for ever."""
    liveness_endpoint: str | None = None
    """``CARILLON_LIVENESS_ENDPOINT``: where kopf serves liveness, such as ``http://0.0.0.0:8081/healthz``: 200 while
    the operator's own loop turns, else 500."""
    ready_file: Path | None = None
    """``CARILLON_READY_FILE``: written once Jobs are known, whether it leads or stands by; for a probe to look at."""
    lease: LeaseSettings | None = None
    """``CARILLON_LEASE_NAMESPACE`` and its like; None means that the process decides without asking anybody."""
    shard: Shard = field(default_factory=Shard)
    """``CARILLON_SHARDS``, how many operators share the tasks, and ``CARILLON_SHARD``, which of them this is, from 0.
    The number is changed only while no operator runs: two that count differently both decide about some tasks."""
    webhook: WebhookSettings | None = None
    """``CARILLON_WEBHOOK_PORT`` and its like; None means that there is no webhook."""
    log_level: str = "INFO"
    """``CARILLON_LOG_LEVEL``."""
    log_format: str = "json"
    """``CARILLON_LOG_FORMAT``: ``json`` or ``text``."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: Naming the variable and the mend.

        """
        database_url = required(env, "DATABASE_URL", DATABASE_URL_MEND)
        image = required(env, "CARILLON_RUNNER_IMAGE", "set it to the runner's image, such as carillon-runner:0.1.0")
        if any(c.isspace() for c in image):
            raise SettingsError("CARILLON_RUNNER_IMAGE contains white space: write one image reference")
        shard = _shard(env)
        return cls(
            database_url=database_url,
            runner_database_url=_runner_database_url(env, database_url),
            runner=RunnerTemplate(
                image=image,
                token_key=_token_key(env, database_url),
                secret_name=env.get("CARILLON_RUNNER_SECRET") or RUNNER_SECRET,
                http_allow=read_allow_list(env),
                pod=_pod_defaults(env),
                queue_name=_queue_name(env),
            ),
            scope=scope(env),
            kubeconfig=env.get("KUBECONFIG") or None,
            workers=positive_int(env, "CARILLON_WORKERS", 32),
            sweep_seconds=positive_int(env, "CARILLON_SWEEP_SECONDS", 60),
            history_retention_days=retention_days(env),
            liveness_endpoint=env.get("CARILLON_LIVENESS_ENDPOINT") or None,
            ready_file=Path(env["CARILLON_READY_FILE"]) if env.get("CARILLON_READY_FILE") else None,
            lease=_lease(env, shard),
            shard=shard,
            webhook=WebhookSettings.from_env(env),
            log_level=choice(env, "CARILLON_LOG_LEVEL", LEVELS, "INFO"),
            log_format=choice(env, "CARILLON_LOG_FORMAT", ("json", "text"), "json"),
        )

    @property
    def runners_own_all(self) -> bool:
        """Whether runners log in as the operator does, and so may read and alter the whole history."""
        runner, _ = credentials(self.runner_database_url, "CARILLON_RUNNER_DATABASE_URL")
        return runner == credentials(self.database_url)[0]


def _shard(env: Mapping[str, str]) -> Shard:
    count = positive_int(env, "CARILLON_SHARDS", 1, most=MOST_SHARDS)
    return Shard(whole_number(env, "CARILLON_SHARD", 0, 0, count - 1), count)


def _lease(env: Mapping[str, str], shard: Shard) -> LeaseSettings | None:
    namespace = env.get("CARILLON_LEASE_NAMESPACE", "").strip()
    if not namespace:
        return None
    name = env.get("CARILLON_LEASE_NAME", "").strip() or LEASE_NAME
    for variable, value in (("CARILLON_LEASE_NAMESPACE", namespace), ("CARILLON_LEASE_NAME", name)):
        if not _DNS_NAME.fullmatch(value):
            raise SettingsError(
                f"{variable} is {value!r}: set it to a name of at most 63 lower-case letters, digits and hyphens,"
                " such as carillon-system"
            )
    return LeaseSettings(
        namespace=namespace,
        name=name if shard.count == 1 else f"{name}-{shard.index}",
        identity=env.get("CARILLON_POD_NAME", "").strip() or f"{socket.gethostname()}-{uuid4().hex[:8]}",
        # below three seconds a renewal has no time for a second try
        seconds=whole_number(env, "CARILLON_LEASE_SECONDS", LEASE_SECONDS, 3, 3600),
    )


def _pod_defaults(env: Mapping[str, str]) -> PodSettings:
    text = env.get("CARILLON_POD_DEFAULTS", "").strip()
    if not text:
        return PodSettings()
    try:
        defaults = PodSettings.model_validate(json.loads(text))
    except ValidationError as error:
        problems = "; ".join(str(problem) for problem in field_problems(error, "CARILLON_POD_DEFAULTS"))
        raise SettingsError(problems) from error
    except ValueError as error:
        mend = 'write an object such as {"nodeSelector": {"pool": "batch"}}'
        raise SettingsError(f"CARILLON_POD_DEFAULTS is not JSON ({error}): {mend}") from error
    unfit = default_problems(defaults)
    if unfit:
        raise SettingsError("; ".join(str(problem) for problem in unfit))
    return defaults


def _queue_name(env: Mapping[str, str]) -> str | None:
    name = env.get("CARILLON_QUEUE_NAME", "").strip()
    if name and not re.match(LABEL_NAME, name):
        raise SettingsError(f"CARILLON_QUEUE_NAME is {name!r}, which {PATTERN_MENDS[LABEL_NAME]}")
    return name or None


def _runner_database_url(env: Mapping[str, str], database_url: str) -> str:
    url = env.get("CARILLON_RUNNER_DATABASE_URL", "").strip()
    if not url:
        if choice(env, "CARILLON_RUNNER_ROLE_REQUIRED", ("true", "false"), "false") == "true":
            mend = "set it to the URL of a user of their own (in the chart's Secret the key runner-database-url)"
            raise SettingsError(f"CARILLON_RUNNER_DATABASE_URL is not set, and runners would own the database: {mend}")
        return database_url
    credentials(url, "CARILLON_RUNNER_DATABASE_URL")  # one that is none is refused now, not by each runner
    return url


def _token_key(env: Mapping[str, str], database_url: str) -> TokenKey:
    """Return the key of the runners' tokens. It cannot be in the database: launching goes on while that is away."""
    secret = env.get("CARILLON_TOKEN_KEY", "").strip()
    if secret and len(secret) < MIN_TOKEN_KEY_LENGTH:
        raise SettingsError(
            f"CARILLON_TOKEN_KEY has {len(secret)} characters: set it to at least {MIN_TOKEN_KEY_LENGTH} at random,"
            " such as openssl rand -hex 32 prints"
        )
    secret = secret or credentials(database_url)[1]
    if not secret:
        raise SettingsError(
            "CARILLON_TOKEN_KEY is not set, and DATABASE_URL has no password to make one from: set it to at least"
            f" {MIN_TOKEN_KEY_LENGTH} characters at random, such as openssl rand -hex 32 prints"
        )
    return TokenKey.derived(secret)
