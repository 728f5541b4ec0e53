"""Counts of executions: query parameters and response."""

from pydantic import AwareDatetime

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model


class SummaryQuery(Model):
    """Which executions to count."""

    namespace: NamespaceName | None = None
    """Only executions in this namespace. Default: all namespaces."""


class WindowView(Answer):
    """The counts of one time window."""

    since: AwareDatetime
    """The start of the window: executions with slots at or after this time are counted."""
    executions: dict[str, int]
    """The number of executions by status."""
    dead_letters: int
    """The number of executions that failed or timed out and were not retried."""


class SummaryView(Answer):
    """The counts of recent executions, and the state of the history's maintenance."""

    namespace: str | None
    """The namespace whose executions are counted; null for all namespaces."""
    running: int
    """The number of executions that are running."""
    hour: WindowView
    """The last hour."""
    day: WindowView
    """The last 24 hours."""
    partitions: int
    """The number of months that the history holds."""
    maintained_at: AwareDatetime | None
    """When the history's maintenance last succeeded; null if it never has."""
    maintenance_failing: bool
    """Whether the last maintenance failed. The log of the process that runs it says why."""
