"""Pages of a list of objects: the API server's pages, filtered further, with our own cursor.

The list routes call ``page_of``. The API server filters by namespace and label
only, so a page may take several calls. Each call requests no more than is
still missing, because the API server cannot continue in the middle of a page.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from carillon_api.http.cursors import DIGEST_BYTES, OTHER_LIST, digest
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import PageQuery
from carillon_api.schemas.checks import selector_problems
from carillon_core.errors import ExpiredError, FieldProblem, InvalidResourceError, RefusedError
from carillon_core.ports import MOST_PAGE_BYTES, JSONObject, ObjectStore

MAX_CALLS = 10
"""The maximum number of calls to the API server for one request."""
ENOUGH_BYTES = MOST_PAGE_BYTES // 2
"""The maximum size of a page in bytes; a page that reaches it ends early."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Part:
    """The objects of a page, and the cursor of the next one if there is one."""

    items: Sequence[JSONObject]
    next_cursor: str | None


async def page_of(
    store: ObjectStore,
    kind: str,
    namespace: str | None,
    query: PageQuery,
    keep: Callable[[JSONObject], bool] = lambda _: True,
) -> Part:
    """Return a page of objects; it may have fewer items than its limit, or none, even if there are further pages.

    Args:
        store: Where the objects are.
        kind: Their kind; a cursor of another kind is rejected.
        namespace: Only of this namespace; None means all namespaces.
        query: Selector, name prefix, limit and cursor; a cursor is bound to the other fields, too.
        keep: Whether an object matches the filters that the API server does not know; the name prefix is checked here.

    Raises:
        InvalidResourceError: If the selector is invalid, or the cursor is not ours or belongs to another query.
        RequestRefusedError: As 410, if the cursor is too old.

    """
    if problems := selector_problems(query.label_selector):
        raise InvalidResourceError(problems)
    prefix = query.name_prefix or ""
    scope = digest(query, {"kind": kind, "in": namespace})
    token = _token(query.cursor, scope) if query.cursor is not None else None
    found: list[JSONObject] = []
    size = 0
    for _ in range(MAX_CALLS):
        try:
            page = await store.page(
                namespace, limit=query.limit - len(found), label_selector=query.label_selector, continue_token=token
            )
        except ExpiredError as error:
            detail = "the cursor is too old: start again without a cursor"
            raise RequestRefusedError(Kind.EXPIRED, detail) from error
        except RefusedError as error:
            if token is None:
                raise
            raise _no_cursor() from error
        found += [raw for raw in page.items if raw["metadata"]["name"].startswith(prefix) and keep(raw)]
        token = page.continue_token
        size += page.size
        if token is None or len(found) == query.limit or size >= ENOUGH_BYTES:
            break
    return Part(found, None if token is None else _cursor(token, scope))


async def rows_of(
    fetch: Callable[[int, str | None], Awaitable[tuple[Sequence[R], str | None]]],
    limit: int,
    cursor: str | None,
    size_of: Callable[[R], int],
    first: int,
) -> tuple[Sequence[R], str | None]:
    """Return a page of rows of the database, read in parts, and its cursor; a page of many bytes has fewer rows.

    Args:
        fetch: Returns rows after a cursor, up to the given number, and the next cursor.
        limit: The maximum number of rows.
        cursor: Where the page begins; None for the first one.
        size_of: The number of bytes of a row.
        first: How many rows are read at first; by their size it is known how many more fit into a page.

    """
    found: list[R] = []
    size, rows = 0, first
    while True:
        part, cursor = await fetch(min(rows, limit - len(found)), cursor)
        found += part
        size += sum(map(size_of, part))
        if cursor is None or len(found) == limit or size >= ENOUGH_BYTES:
            return found, cursor
        rows = max(1, (ENOUGH_BYTES - size) * len(found) // max(size, 1))


def _cursor(token: str, scope: bytes) -> str:
    return urlsafe_b64encode(scope + token.encode()).rstrip(b"=").decode()


def _token(cursor: str, scope: bytes) -> str:
    """Return the API server's token in a cursor."""
    try:
        held = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mark, token = held[:DIGEST_BYTES], held[DIGEST_BYTES:].decode()
    except ValueError as error:
        raise _no_cursor() from error
    if not token:
        raise _no_cursor()
    if mark != scope:
        raise InvalidResourceError([FieldProblem("cursor", OTHER_LIST)])
    return token


def _no_cursor() -> InvalidResourceError:
    return InvalidResourceError([FieldProblem("cursor", "must be a nextCursor of this list: copy it unchanged")])
