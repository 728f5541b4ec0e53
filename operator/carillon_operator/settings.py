"""The operator's settings, read once from the environment by ``__main__``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from carillon_core.domain.manifest import RUNNER_SECRET, RunnerTemplate
from carillon_core.errors import SettingsError
from carillon_core.logs import LEVELS
from carillon_core.settings import choice, positive_int, required


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator can be told from outside; each field names its variable."""

    database_url: str
    """``DATABASE_URL``: where the operator records what was not launched, and closes what vanished."""
    runner_database_url: str
    """``CARILLON_RUNNER_DATABASE_URL``: what runner pods record with; ``DATABASE_URL`` if unset."""
    runner: RunnerTemplate
    """``CARILLON_RUNNER_IMAGE``, ``CARILLON_RUNNER_SECRET`` and ``CARILLON_JOB_TTL_SECONDS``."""
    kubeconfig: str | None = None
    """``KUBECONFIG``; in a pod, the service account is used without it."""
    workers: int = 32
    """``CARILLON_WORKERS``: how many tasks are reconciled at once."""
    sweep_seconds: int = 60
    """``CARILLON_SWEEP_SECONDS``: how often open executions are compared with the Jobs that exist."""
    liveness_endpoint: str | None = None
    """``CARILLON_LIVENESS_ENDPOINT``: where kopf serves liveness, such as ``http://0.0.0.0:8081/healthz``."""
    ready_file: Path | None = None
    """``CARILLON_READY_FILE``: written once tasks and Jobs are known and decisions begin; for a probe to look at."""
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
        database_url = required(env, "DATABASE_URL", "set it to the database's URL, postgresql://user:password@host/db")
        image = required(env, "CARILLON_RUNNER_IMAGE", "set it to the runner's image, such as carillon-runner:0.1.0")
        if any(c.isspace() for c in image):
            raise SettingsError("CARILLON_RUNNER_IMAGE contains white space: write one image reference")
        return cls(
            database_url=database_url,
            runner_database_url=env.get("CARILLON_RUNNER_DATABASE_URL") or database_url,
            runner=RunnerTemplate(
                image=image,
                secret_name=env.get("CARILLON_RUNNER_SECRET") or RUNNER_SECRET,
                job_ttl_seconds=positive_int(env, "CARILLON_JOB_TTL_SECONDS", 600),
            ),
            kubeconfig=env.get("KUBECONFIG") or None,
            workers=positive_int(env, "CARILLON_WORKERS", 32),
            sweep_seconds=positive_int(env, "CARILLON_SWEEP_SECONDS", 60),
            liveness_endpoint=env.get("CARILLON_LIVENESS_ENDPOINT") or None,
            ready_file=Path(env["CARILLON_READY_FILE"]) if env.get("CARILLON_READY_FILE") else None,
            log_level=choice(env, "CARILLON_LOG_LEVEL", LEVELS, "INFO"),
            log_format=choice(env, "CARILLON_LOG_FORMAT", ("json", "text"), "json"),
        )
