"""Prepares revisions for storage, and encodes their cursors; shared by the adapters of the history of specs. Pure."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from carillon_core.adapters.history_rows import decode_cursor, encode_cursor, storable_json, storable_text
from carillon_core.domain.why.revision import MOST_REVISIONS, TaskRevision
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import RevisionQuery

Order = tuple[datetime, UUID, int]
"""The order of the revisions of one name: by the time since which each is in force."""
MOST_GENERATION = 2**63 - 1


def storable_revision(revision: TaskRevision) -> TaskRevision:
    """Return the revision as it is stored: times in UTC, text that Postgres accepts.

    Raises:
        ValueError: The task's uid is not a UUID.

    """
    return replace(
        revision,
        namespace=storable_text(revision.namespace),
        task=storable_text(revision.task),
        task_uid=str(UUID(revision.task_uid)),
        created_at=revision.created_at.astimezone(UTC),
        seen_at=revision.seen_at.astimezone(UTC),
        last_seen_at=revision.last_seen_at.astimezone(UTC),
        problem=None if revision.problem is None else storable_text(revision.problem),
        spec=None if revision.spec is None else storable_json(revision.spec),
        manager=None if revision.manager is None else storable_text(revision.manager),
    )


def order_of(revision: TaskRevision) -> Order:
    """Return a revision's place among those of its name."""
    return revision.seen_at, UUID(revision.task_uid), revision.generation


def cursor_of(revision: TaskRevision) -> str:
    """Return the cursor of the page that starts after a revision."""
    return f"{encode_cursor(revision.seen_at, UUID(revision.task_uid))}.{revision.generation}"


def place_of(cursor: str) -> Order:
    """Return the place of the last revision of the previous page.

    Raises:
        InvalidResourceError: The cursor is invalid; the path is ``cursor``.

    """
    place, _, generation = cursor.partition(".")
    if not (generation.isascii() and generation.isdigit()) or len(generation) > len(str(MOST_GENERATION)):
        raise InvalidResourceError([FieldProblem("cursor", "must be the nextCursor of the previous page")])
    return (*decode_cursor(place), min(int(generation), MOST_GENERATION))


def check_limit(query: RevisionQuery) -> None:
    """Raise ``InvalidResourceError`` if the page size is out of range."""
    if not 1 <= query.limit <= MOST_REVISIONS:
        raise InvalidResourceError([FieldProblem("limit", f"must be from 1 to {MOST_REVISIONS} (got {query.limit})")])
