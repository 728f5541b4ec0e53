"""The calendar months by which the history is partitioned. Pure."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self


class Month(NamedTuple):
    """A calendar month in UTC; month 1 is January."""

    year: int
    month: int

    @classmethod
    def of(cls, when: datetime) -> Self:
        """Return the month of an instant."""
        utc = when.astimezone(UTC)
        return cls(utc.year, utc.month)

    def after(self, months: int) -> Self:
        """Return the month that is this many months later, or earlier if negative."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return type(self)(year, month + 1)

    @property
    def suffix(self) -> str:
        """The suffix of the names of its partitions."""
        return f"{self.year:04d}_{self.month:02d}"

    @property
    def first(self) -> str:
        """Its first instant as text for Postgres; the month after December 9999 has no ``datetime``."""
        return f"{self.year:04d}-{self.month:02d}-01 00:00:00+00"

    @property
    def begin(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def last(self) -> datetime:
        """Its last instant, as precise as Postgres is."""
        days = monthrange(self.year, self.month)[1]
        return self.begin + timedelta(days=days - 1, hours=23, minutes=59, seconds=59, microseconds=999_999)
