"""The stream of changes."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from carillon_api.events.response import MEDIA_TYPE, EventStream, head
from carillon_api.http.headers import LAST_EVENT_ID
from carillon_api.http.problems import Kind, Responses, problem_responses
from carillon_api.routes.dependencies import Ctx
from carillon_api.schemas.streams.events import EventsQuery
from carillon_api.services.events import enter, namespaces_of

EXAMPLE = """\
retry: 4711

event: ready
id: 6f1c22d0-0
data: {"resumed":false}

event: execution
id: 6f1c22d0-1
data: {"id":"0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11","namespace":"team-a","task":"nightly-report",\
"slot":"2027-01-07T01:30:00Z","cause":"schedule","status":"Running","reason":null,\
"startedAt":"2027-01-07T01:30:01.412057Z","finishedAt":null}

event: task
id: 6f1c22d0-2
data: {"namespace":"team-a","name":"nightly-report","uid":"8b7df143-0d21-4c52-9c5a-1f0c6a5f9d3e","generation":3,\
"resourceVersion":"48151","deleted":false}

: heartbeat
id: 6f1c22d0-2

event: end
data: {"reason":"Shutdown","message":"this API replica is shutting down: connect again"}

"""
STREAM: Responses = {
    200: {
        "description": "Server-sent events, until the client or the API closes the connection",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}

router = APIRouter(tags=["events"])


@router.get(
    "/events",
    operation_id="streamEvents",
    summary="Stream changes",
    response_class=Response,
    responses=STREAM | problem_responses(Kind.NOT_SERVED),
)
async def stream_events(
    ctx: Ctx,
    request: Request,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(alias=LAST_EVENT_ID, max_length=256, description="The ID of the last event received.")
    ] = None,
) -> Response:
    """Stream changes to tasks and executions as server-sent events. Requires permission to list both.

    Events are small: they name what has changed, and the other operations return the rest. Of several changes of an
    object within a moment, only the last is sent.

    - `ready` comes first. Read the lists then, unless `resumed` is true.
    - `execution` and `task` are changes.
    - `reset`: changes may be missing. Read the lists again.
    - `degraded`: changes from a source are delayed. `recovered`: they are no longer delayed.
    - `end` is the last event. `reason` is `Shutdown`, `Unavailable` or `InternalError`: connect again with the last ID;
      `Unauthenticated` or `Forbidden`: the credential or a permission has been withdrawn, or the permissions have
      changed.

    A comment is sent every 15 seconds if nothing else is. IDs are known to one replica for as long as it keeps the
    events; an unknown ID is answered with `reset`. Executions of slots more than 62 days ago are not reported.
    """
    if getattr(request.state, "is_head", False):
        await namespaces_of(ctx, query.namespace)
        return head()
    viewer = await enter(ctx, query, last_event_id or query.after, request.headers)
    return EventStream(viewer, ctx.backends.events.leave)
