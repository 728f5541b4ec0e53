"""Pages of a list of objects: the API server's own pages, filtered further, behind a cursor of ours.

The list routes call ``page_of``. The API server filters by namespace and label
alone, so a page may take several calls; each asks for no more than is still
missing, because a page that was cut could not be gone on from.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from carillon_api.http.cursors import DIGEST_BYTES, OTHER_LIST, digest
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import PageQuery
from carillon_api.schemas.checks import selector_problems
from carillon_core.errors import ExpiredError, FieldProblem, InvalidResourceError, RefusedError
from carillon_core.ports import JSONObject, ObjectStore

MAX_CALLS = 10
"""So many calls to the API server one request may cause."""


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
    """Return a page of objects; with fewer than its limit, even none, if the filters leave few and more are to come.

    Args:
        store: Where they are.
        kind: Their kind: a cursor of another one is refused.
        namespace: Only of this namespace; None means of all.
        query: Selector, prefix of the name, limit, cursor; its other fields are part of what a cursor is bound to.
        keep: Whether an object is wanted, as far as the API server cannot tell; the prefix is seen to here.

    Raises:
        InvalidResourceError: If the selector cannot be read, or the cursor is none of ours or of another query.
        RequestRefusedError: As 410, if the cursor is too old.

    """
    if problems := selector_problems(query.label_selector):
        raise InvalidResourceError(problems)
    prefix = query.name_prefix or ""
    scope = digest(query, {"kind": kind, "in": namespace})
    token = _token(query.cursor, scope) if query.cursor is not None else None
    found: list[JSONObject] = []
    for _ in range(MAX_CALLS):
        try:
            page = await store.page(
                namespace, limit=query.limit - len(found), label_selector=query.label_selector, continue_token=token
            )
        except ExpiredError as error:
            detail = "the list as it was when this cursor was made is no longer kept: begin again without a cursor"
            raise RequestRefusedError(Kind.EXPIRED, detail) from error
        except RefusedError as error:
            if token is None:
                raise
            raise _no_cursor() from error
        found += [raw for raw in page.items if raw["metadata"]["name"].startswith(prefix) and keep(raw)]
        token = page.continue_token
        if token is None or len(found) == query.limit:
            break
    return Part(found, None if token is None else _cursor(token, scope))


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
    return InvalidResourceError([FieldProblem("cursor", "is no nextCursor of this list: send it as it came")])
