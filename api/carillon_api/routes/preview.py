"""Previews of specs, without storing them."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from carillon_api.http.bodies import json_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import body_of
from carillon_api.routes.dependencies import Ctx, Namespace
from carillon_api.schemas import Preview, PreviewBody, UpcomingQuery
from carillon_api.views.preview import previewed
from carillon_api.views.upcoming import window_of
from carillon_core.ports import JSONObject

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
    summary="Preview a spec",
    responses=RESPONSES,
    openapi_extra=body_of(PreviewBody, EXAMPLE),
)
async def preview(
    ctx: Ctx, query: Annotated[UpcomingQuery, Query()], body: Annotated[PreviewBody, Depends(json_body(PreviewBody))]
) -> Preview:
    """Return the next times of a spec, its problems and its warnings, without storing it.

    For an invalid spec, the response is 200 and lists the problems. Requires no permission.
    """
    return await asyncio.to_thread(previewed, body, window_of(query, ctx.clock()))


@router.post(
    "/namespaces/{namespace}/preview",
    operation_id="previewNamespacedTask",
    summary="Preview a spec in a namespace",
    responses=RESPONSES,
    openapi_extra=body_of(PreviewBody, EXAMPLE),
)
async def preview_namespaced(
    ctx: Ctx,
    namespace: Namespace,
    query: Annotated[UpcomingQuery, Query()],
    body: Annotated[PreviewBody, Depends(json_body(PreviewBody))],
) -> Preview:
    """Return the same as ``/preview``: the result does not depend on the namespace."""
    del namespace
    return await asyncio.to_thread(previewed, body, window_of(query, ctx.clock()))
