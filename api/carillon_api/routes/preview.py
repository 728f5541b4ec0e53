"""What a spec would do: asked before anything is stored."""

import asyncio
import json
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from carillon_api.http.bodies import json_body, parse_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import body_of
from carillon_api.routes.dependencies import Ctx, Namespace
from carillon_api.schemas import Preview, PreviewBody, ProblemField, TaskReplace, UpcomingQuery
from carillon_api.schemas.checks import spec_problems
from carillon_api.views.upcoming import Window, fire_times_of, spec_timetable, window_of
from carillon_core.domain.validity.advice import warnings_of
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import JSONObject
from carillon_core.resources import ScheduledTaskSpec

RESPONSES = problem_responses(Kind.MALFORMED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE)
EXAMPLE: JSONObject = {
    "spec": {
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Berlin",
        "task": {"http": {"url": "https://example.com/report"}},
    }
}

router = APIRouter(tags=["upcoming"])


@router.post(
    "/preview",
    operation_id="previewTask",
    summary="What a spec would do",
    responses=RESPONSES,
    openapi_extra=body_of(PreviewBody, EXAMPLE),
)
async def preview(
    ctx: Ctx, query: Annotated[UpcomingQuery, Query()], body: Annotated[PreviewBody, Depends(json_body(PreviewBody))]
) -> Preview:
    """Return the next times of a spec, and what would be said if it were stored now; nothing is stored.

    A spec that would be refused is answered with its problems, not with an error. It needs no permission.
    """
    return await asyncio.to_thread(_previewed, body, window_of(query, ctx.clock()))


@router.post(
    "/namespaces/{namespace}/preview",
    operation_id="previewNamespacedTask",
    summary="What a spec would do in a namespace",
    responses=RESPONSES,
    openapi_extra=body_of(PreviewBody, EXAMPLE),
)
async def preview_namespaced(
    ctx: Ctx,
    namespace: Namespace,
    query: Annotated[UpcomingQuery, Query()],
    body: Annotated[PreviewBody, Depends(json_body(PreviewBody))],
) -> Preview:
    """Return the same as ``/preview``: a spec's times and problems do not depend on its namespace."""
    del namespace
    return await asyncio.to_thread(_previewed, body, window_of(query, ctx.clock()))


def _previewed(body: PreviewBody, window: Window) -> Preview:
    spec, problems = _judged(body, window.now)
    if spec is None:
        return _answer(problems)
    table = spec_timetable(spec, window.now)
    items = fire_times_of(table, table.max_runs, window)
    answer = _answer(problems, [] if problems else warnings_of(spec, window.now))
    return answer.model_copy(update={"time_zone": table.zone, "items": items})


def _judged(body: PreviewBody, now: datetime) -> tuple[ScheduledTaskSpec | None, list[FieldProblem]]:
    """Return the spec, if it can be read at all, and what is wrong with it: what a POST would be refused for."""
    try:
        spec = parse_body(TaskReplace, json.dumps({"spec": body.spec}).encode()).spec
    except InvalidResourceError as error:
        return None, list(error.problems)
    return spec, spec_problems(spec, now, None)


def _answer(problems: list[FieldProblem], warnings: list[str] | None = None) -> Preview:
    named = [ProblemField(field=p.path, message=p.message) for p in problems]
    return Preview(valid=not problems, problems=named, warnings=warnings or [], time_zone="UTC", items=[])
