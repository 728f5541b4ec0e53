"""Ranges of time in the queries of reports."""

from pydantic import Field

from carillon_api.schemas.answers import Parameters
from carillon_api.schemas.executions import Instant


class RangeQuery(Parameters):
    """From when to when. Fractions of a second are ignored."""

    from_: Instant | None = Field(default=None, alias="from")
    """The start of the range (RFC 3339)."""
    to: Instant | None = None
    """The end of the range (RFC 3339), which is not part of it."""
