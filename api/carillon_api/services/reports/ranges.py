"""The range of time of a report, from the caller's query."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from carillon_api.schemas.reports.ranges import RangeQuery
from carillon_api.views.upcoming import FURTHEST
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.base import rfc3339

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Range:
    """The instants in ``[start, end)``, in UTC and whole seconds."""

    start: datetime
    end: datetime


def range_of(query: RangeQuery, now: datetime, before: timedelta, after: timedelta, most: timedelta) -> Range:
    """Return the range of a query.

    Args:
        query: From when to when.
        now: The current time.
        before: How long before now, or before an earlier end, the range starts by default.
        after: How long after now, or after a later start, the range ends by default.
        most: The maximum length.

    Raises:
        InvalidResourceError: The range is empty or too long, or ends more than ten years ahead.

    """
    end = query.to or max(now, query.from_ or now) + after
    start = query.from_ or min(now, end) - before
    found = Range(*(each.astimezone(UTC).replace(microsecond=0) for each in (start, end)))
    furthest = now + FURTHEST
    if found.end > furthest:
        named = "to" if query.to is not None else "from"
        message = f"must be at most ten years ahead: set it to a time before {rfc3339(furthest)}"
    elif found.end <= found.start:
        named = "to" if query.to is not None else "from"
        order = "after from" if named == "to" else "before to"
        message = f"must be {order} (from is {rfc3339(found.start)}, to is {rfc3339(found.end)})"
    elif found.end - found.start > most:
        named = "from" if query.from_ is not None else "to"
        bound = f"to {rfc3339(found.end - most)} or later" if named == "from" else "an earlier time"
        message = f"the range must be at most {most // DAY} days long: set {named} {bound}"
    else:
        return found
    raise InvalidResourceError([FieldProblem(named, message)])
