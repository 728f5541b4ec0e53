"""FastAPI dependencies of the routes: a request's context, its preconditions, its key, and the names in its path.

They are coroutines although none of them awaits: FastAPI runs a plain function in a thread, which costs more than most
requests do.
"""

from dataclasses import replace
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Request
from pydantic import AfterValidator

from carillon_api.auth.authentication import Caller
from carillon_api.http.dry_run import is_dry_run
from carillon_api.http.headers import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH
from carillon_api.http.preconditions import IF_MATCH_PATTERN, IfMatch, if_match
from carillon_api.middleware.idempotency import key_of
from carillon_api.schemas.checks import namespace_name, object_name, task_name
from carillon_api.services.context import Backends, Context


async def backends(request: Request) -> Backends:
    """Return the app's backends."""
    return cast("Backends", request.app.state.backends)


async def _context(request: Request) -> Context:
    given = await backends(request)
    caller: Caller = request.state.caller  # set by the gate for every request that reaches a route
    cluster = given.api_server.acting_as(caller.subject)
    return Context(given, caller, cluster, request.state.origin, dry_run=is_dry_run(request.scope))


async def _precondition(
    request: Request,
    header: Annotated[
        str | None,
        Header(
            alias=IF_MATCH,
            max_length=4096,
            json_schema_extra={"pattern": IF_MATCH_PATTERN},  # documented, not checked twice
            description="Write only if the object's ETag is one of these, or exists if `*`; 412 otherwise.",
        ),
    ] = None,
) -> IfMatch | None:
    # several header lines are one list, but FastAPI passes only one of them
    admitted = None if header is None else if_match(", ".join(request.headers.getlist(IF_MATCH)))
    excluded = ", ".join(request.headers.getlist(IF_NONE_MATCH))
    return replace(admitted or IfMatch(None), none_of=excluded) if excluded else admitted


async def _idempotency_key(request: Request) -> str | None:
    return key_of(request.headers) if IDEMPOTENCY_KEY in request.headers else None


Ctx = Annotated[Context, Depends(_context)]
Backend = Annotated[Backends, Depends(backends)]
"""For operations without a caller, such as probes."""
Precondition = Annotated[IfMatch | None, Depends(_precondition)]
Namespace = Annotated[str, Path(description="The object's namespace."), AfterValidator(namespace_name)]
TaskName = Annotated[str, Path(description="The task's name."), AfterValidator(task_name)]
TargetName = Annotated[str, Path(description="The target's name."), AfterValidator(object_name)]
RunName = Annotated[str, Path(description="The run's name."), AfterValidator(object_name)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""The caller's Idempotency-Key, if there is one; runs derive their name from it, in case its store loses the key."""
