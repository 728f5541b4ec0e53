"""The contract between the operator and the runner.

Defines the environment variables of a runner pod, its exit codes and the
statuses of an execution. Uses the standard library only, because the runner
imports it first.
"""

from enum import IntEnum, StrEnum

ENV_RECORDER_URL = "CARILLON_RECORDER_URL"
"""The recorder that the runner reports to. Without it, the runner records in the database of ``DATABASE_URL``."""
ENV_RECORDER_CA = "CARILLON_RECORDER_CA"
"""The certificates that the recorder's must be signed by, as PEM text. Default: those that the image trusts."""
ENV_CLAIM_SECONDS = "CARILLON_CLAIM_SECONDS"
"""How long the runner waits until it can claim its execution. Default: as long as the execution may take."""
ENV_DATABASE_URL = "DATABASE_URL"
ENV_EXECUTION_TOKEN = "CARILLON_EXECUTION_TOKEN"  # noqa: S105  # a variable's name, not a secret
"""Allows the pod to record this execution only; signed by the operator, verified by the database."""
ENV_EXECUTION_ID = "CARILLON_EXECUTION_ID"
ENV_TASK_UID = "CARILLON_TASK_UID"
ENV_TASK_NAMESPACE = "CARILLON_TASK_NAMESPACE"
ENV_TASK_NAME = "CARILLON_TASK_NAME"
ENV_SLOT = "CARILLON_SLOT"
"""The nominal time of the slot, RFC 3339 in UTC."""
ENV_CAUSE = "CARILLON_CAUSE"
ENV_TASK = "CARILLON_TASK"
"""``spec.task`` of the ScheduledTask as JSON; a long one continues in ``CARILLON_TASK_1``, ``_2`` and so on."""
MAX_VARIABLE_LENGTH = 60_000
"""The maximum length of one variable in ASCII characters; twice that, if each is an escaped ``$``, fits into Linux's
128 KiB."""
ENV_ORIGIN = "CARILLON_ORIGIN"
"""The UID of the ScheduledTask or RunRequest that asked for the execution. Default: the task's UID."""
ENV_RETRY = "CARILLON_RETRY"
"""``spec.retry`` as JSON. Default: no retries."""
ENV_PARAMETERS = "CARILLON_PARAMETERS"
"""The RunRequest's ``spec.parameters`` as JSON, for templates. Default: ``{}``."""
ENV_TIME_ZONE = "CARILLON_TIME_ZONE"
"""The task's time zone, for templates. Default: UTC."""
ENV_SECRET_PREFIX = "CARILLON_SECRET_"  # noqa: S105  # a variable's name, not a secret
"""``CARILLON_SECRET_0`` and so on hold the values of an HTTPTarget's Secrets. The http task refers to them:
``secretHeaders`` is a list of ``{"name", "variable", "source"}``, ``signing`` a list of ``{"variable", "source"}``; the
source is the Secret's name and key for messages. A variable is unset if its Secret or key is missing."""
ENV_HTTP_ALLOW = "CARILLON_HTTP_ALLOW"
"""The destinations besides public addresses that HTTP tasks may reach: networks, addresses and names, separated by
commas; see ``domain.egress``. A setting of the operator, and a variable of the pods of HTTP tasks. Default: none."""
ENV_TIMEOUT_SECONDS = "CARILLON_TIMEOUT_SECONDS"
ENV_JOB_NAME = "CARILLON_JOB_NAME"
ENV_POD_NAME = "CARILLON_POD_NAME"
ENV_TERMINATION_LOG = "CARILLON_TERMINATION_LOG"
"""The file for the termination message. Default: ``/dev/termination-log``."""

TERMINATION_LOG = "/dev/termination-log"
REASON_TERMINATED = "Terminated"
"""The reason of an execution that a termination signal ended: its runner does not know who caused it."""


class Cause(StrEnum):
    """Why an execution exists."""

    SCHEDULE = "schedule"
    """A slot of a ScheduledTask."""
    MANUAL = "manual"
    """A RunRequest."""


class ExecutionStatus(StrEnum):
    """The status of an execution, as in its row; ``word`` is how everything else spells it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def word(self) -> str:
        """Its spelling in resources, REST, metrics and logs: ``TimedOut``."""
        return self.value.title().replace("_", "")


OPEN_STATUSES = frozenset({ExecutionStatus.RUNNING})
"""Statuses that are not terminal."""
UNLAUNCHED_STATUSES = frozenset({ExecutionStatus.SKIPPED, ExecutionStatus.MISSED})
"""Statuses of executions that were never launched and did not fail."""


TIMEOUT = "Timeout"
"""The reason of executions and attempts that ran too long."""


class ExitCode(IntEnum):
    """The exit codes of the runner, which the operator and the Job read."""

    SUCCEEDED = 0
    FAILED = 1
    """The task failed, and its row says so."""
    MISCONFIGURED = 2
    """The environment is not the one that the operator sets; nothing was recorded."""
    NOT_RECORDED = 3
    """The database stayed unavailable; the log says whether the task ran."""
    ALREADY_CLAIMED = 4
    """Another pod has claimed the execution; this one did nothing."""
    TIMED_OUT = 5
    CANCELLED = 6
    """A termination signal ended the task, and its row says so."""
    INTERRUPTED = 7
    """A termination signal ended an attempt, and another is allowed: the row is open, and the next pod goes on."""
