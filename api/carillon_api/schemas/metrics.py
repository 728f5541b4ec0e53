"""The numbers of the history: query and answer."""

from pydantic import AwareDatetime

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model


class SummaryQuery(Model):
    """Whose executions to count."""

    namespace: NamespaceName | None = None
    """Only those of this namespace; those of all if left out."""


class WindowView(Answer):
    """What happened within a window of time."""

    since: AwareDatetime
    """Executions with a slot at or after this are counted."""
    executions: dict[str, int]
    """How many there are of each status."""
    dead_letters: int
    """How many failed or timed out and were not repeated."""


class SummaryView(Answer):
    """What happened lately, counted; and the state of the history itself."""

    namespace: str | None
    """Whose executions are counted; null for those of all namespaces."""
    running: int
    """How many run now."""
    hour: WindowView
    """The last hour."""
    day: WindowView
    """The last 24 hours."""
    partitions: int
    """How many months the history holds."""
    maintained_at: AwareDatetime | None
    """When the history's maintenance last succeeded; null if it never did."""
    maintenance_failing: bool
    """Whether its last try failed; the log of whoever runs it says why."""
