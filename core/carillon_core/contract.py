"""The contract between the operator, which launches, and the runner, which is launched.

The names of the environment variables of a runner pod, its exit codes and the
statuses of an execution. Standard library only: the runner imports this first
and pays for nothing else.
"""

from enum import IntEnum, StrEnum

ENV_DATABASE_URL = "DATABASE_URL"
ENV_EXECUTION_TOKEN = "CARILLON_EXECUTION_TOKEN"  # noqa: S105  # a variable's name, not a secret
"""Allows to record this execution, and no other; made by the operator, checked by the database."""
ENV_EXECUTION_ID = "CARILLON_EXECUTION_ID"
ENV_TASK_UID = "CARILLON_TASK_UID"
ENV_TASK_NAMESPACE = "CARILLON_TASK_NAMESPACE"
ENV_TASK_NAME = "CARILLON_TASK_NAME"
ENV_SLOT = "CARILLON_SLOT"
"""The slot's nominal time, RFC 3339 in UTC."""
ENV_CAUSE = "CARILLON_CAUSE"
ENV_TASK = "CARILLON_TASK"
"""``spec.task`` of the ScheduledTask as JSON; a long one goes on in ``CARILLON_TASK_1``, ``_2`` and so on."""
MAX_VARIABLE_LENGTH = 60_000
"""Characters (ASCII) of one variable; twice as many still fit into Linux' 128 KiB when each is an escaped ``$``."""
ENV_ORIGIN = "CARILLON_ORIGIN"
"""The uid of what asked for the execution: the ScheduledTask's, or the RunRequest's; the task's uid if unset."""
ENV_RETRY = "CARILLON_RETRY"
"""``spec.retry`` as JSON; no attempt but the first if unset."""
ENV_PARAMETERS = "CARILLON_PARAMETERS"
"""The RunRequest's ``spec.parameters`` as JSON, for templates; ``{}`` if unset."""
ENV_TIME_ZONE = "CARILLON_TIME_ZONE"
"""The task's time zone, for templates; UTC if unset."""
ENV_SECRET_PREFIX = "CARILLON_SECRET_"  # noqa: S105  # a variable's name, not a secret
"""``CARILLON_SECRET_0`` and so on hold what an HTTPTarget's Secrets say. The http task names them: ``secretHeaders``
is a list of ``{"name", "variable", "source"}``, ``signing`` a list of ``{"variable", "source"}``, the source being the
Secret's name and key for people. A variable is unset if its Secret or key is missing."""
ENV_HTTP_ALLOW = "CARILLON_HTTP_ALLOW"
"""Which addresses that are not public HTTP tasks may reach: networks, addresses and names, parted by commas; see
``domain.egress``. The operator's setting, and a variable of the pods of HTTP tasks; none if unset."""
ENV_TIMEOUT_SECONDS = "CARILLON_TIMEOUT_SECONDS"
ENV_JOB_NAME = "CARILLON_JOB_NAME"
ENV_POD_NAME = "CARILLON_POD_NAME"
ENV_TERMINATION_LOG = "CARILLON_TERMINATION_LOG"
"""Where the termination message goes; unset means ``/dev/termination-log``."""

TERMINATION_LOG = "/dev/termination-log"


class Cause(StrEnum):
    """Why an execution exists."""

    SCHEDULE = "schedule"
    """A slot of a ScheduledTask."""
    MANUAL = "manual"
    """A RunRequest."""


class ExecutionStatus(StrEnum):
    """What became of an execution, as its row says it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    MISSED = "missed"


OPEN_STATUSES = frozenset({ExecutionStatus.RUNNING})
"""Statuses that an execution leaves again; every other is terminal."""
UNLAUNCHED_STATUSES = frozenset({ExecutionStatus.SKIPPED, ExecutionStatus.MISSED})
"""Statuses of what was never launched, and is no failure either."""


class ExitCode(IntEnum):
    """How the runner's process ends; the operator and the Job read it."""

    SUCCEEDED = 0
    FAILED = 1
    """The task failed, and its row says so."""
    MISCONFIGURED = 2
    """The environment is not the one the operator writes; nothing was recorded."""
    NOT_RECORDED = 3
    """The database stayed out of reach: whether the task ran or not is in the log."""
    ALREADY_CLAIMED = 4
    """Another pod had claimed the execution; this one did nothing."""
    TIMED_OUT = 5
    CANCELLED = 6
    """Ended by a termination signal, and the row says so."""
