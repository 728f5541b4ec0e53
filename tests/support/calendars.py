"""Calendars and times in UTC, in the short form that tables of tests need."""

from datetime import UTC, datetime
from typing import Any

from carillon_core.resources.scheduled_task import Calendar


def utc(text: str) -> datetime:
    """Return a time in UTC, given as ``2026-03-29 00:30``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def calendar(**fields: Any) -> Calendar:
    """Return a calendar with these fields."""
    return Calendar.model_validate(fields)
