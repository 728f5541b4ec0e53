"""Records what happened in a plan, in order, to explain violations."""

from dataclasses import dataclass, field
from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    at: datetime
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S}.{self.at.microsecond // 1000:03d} {self.who:<9} {self.what}"


@dataclass(slots=True)
class Timeline:
    """The entries of one plan."""

    entries: list[Entry] = field(default_factory=list)

    def note(self, who: str, what: str, at: datetime | None = None) -> None:
        """Add an entry."""
        self.entries.append(Entry(at or now(), who, what))
