"""HTTPTargets: create, list, get, replace, patch, delete."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from carillon_api.http.bodies import json_body
from carillon_api.http.paging import page_of
from carillon_api.http.problems import Kind, Responses, problem_responses
from carillon_api.openapi_document.described import body_of, created, versioned
from carillon_api.routes.dependencies import Ctx, Namespace, Precondition, TargetName
from carillon_api.schemas import (
    AllTargetsQuery,
    TargetCreate,
    TargetDeleted,
    TargetDeletion,
    TargetList,
    TargetPatch,
    TargetQuery,
    TargetReplace,
    TargetView,
)
from carillon_api.services.changes.dry_runs import target_deletion, target_dry_run
from carillon_api.services.context import Context
from carillon_api.services.edits import edit_object
from carillon_api.services.object_answers import CREATE, EDIT, LIST, READ, Answers
from carillon_api.services.target_deletion import delete_target
from carillon_api.views.targets import new_target, patched_target, replaced_target, target_view
from carillon_core.ports import JSONObject
from carillon_core.resources.names import KIND_TARGET, PLURAL_TARGETS

DELETE: Responses = {
    200: {
        "description": "With cascade=true: the target and its users are deleted. With dryRun=All: what would be deleted"
    },
    204: {"description": "The target is deleted"},
    **problem_responses(Kind.MALFORMED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.IN_USE, Kind.PRECONDITION_FAILED),
}
EXAMPLE: JSONObject = {
    "name": "shop",
    "labels": {"team": "shop"},
    "spec": {
        "url": "https://shop.example.com/hooks/{{ parameters.kind }}",
        "method": "POST",
        "headers": [{"name": "Authorization", "secretKeyRef": {"name": "shop", "key": "authorization"}}],
        "signing": {"secretKeyRefs": [{"name": "shop", "key": "signing"}]},
    },
}

ANSWERS = Answers(PLURAL_TARGETS, "targets", target_view, target_dry_run)

router = APIRouter(tags=["targets"])


@router.post(
    "/targets",
    operation_id="createTarget",
    summary="Create a target in the default namespace",
    status_code=201,
    responses=created("The target as stored") | CREATE,
    openapi_extra=body_of(TargetCreate, EXAMPLE),
)
async def create_target(
    ctx: Ctx, response: Response, body: Annotated[TargetCreate, Depends(json_body(TargetCreate))]
) -> TargetView:
    """Create an HTTPTarget in the API's default namespace."""
    return await _create(ctx, response, ctx.settings.default_namespace, body)


@router.post(
    "/namespaces/{namespace}/targets",
    operation_id="createNamespacedTarget",
    summary="Create a target",
    status_code=201,
    responses=created("The target as stored") | CREATE,
    openapi_extra=body_of(TargetCreate, EXAMPLE),
)
async def create_namespaced_target(
    ctx: Ctx, response: Response, namespace: Namespace, body: Annotated[TargetCreate, Depends(json_body(TargetCreate))]
) -> TargetView:
    """Create an HTTPTarget. Its Secrets are not checked until a task uses them."""
    return await _create(ctx, response, namespace, body)


@router.get("/targets", operation_id="listTargets", summary="List targets", responses=LIST)
async def list_targets(ctx: Ctx, query: Annotated[AllTargetsQuery, Query()]) -> TargetList:
    """List targets, one page per request. Continue with nextCursor until it is null, even if a page is empty."""
    return await _list(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/targets",
    operation_id="listNamespacedTargets",
    summary="List targets in a namespace",
    responses=LIST,
)
async def list_namespaced_targets(ctx: Ctx, namespace: Namespace, query: Annotated[TargetQuery, Query()]) -> TargetList:
    """List targets, one page per request. Continue with nextCursor until it is null, even if a page is empty."""
    return await _list(ctx, namespace, query)


@router.get(
    "/namespaces/{namespace}/targets/{name}",
    operation_id="getTarget",
    summary="Get a target",
    responses=versioned("The target") | READ,
)
async def get_target(ctx: Ctx, response: Response, namespace: Namespace, name: TargetName) -> TargetView:
    """Return a target. It names its Secrets, which are never read."""
    return ANSWERS.of(response, await ctx.targets.get(namespace, name))


@router.put(
    "/namespaces/{namespace}/targets/{name}",
    operation_id="replaceTarget",
    summary="Replace a target's spec",
    responses=versioned("The updated target") | EDIT,
    openapi_extra=body_of(TargetReplace, {"spec": EXAMPLE["spec"]}),
)
async def replace_target(
    ctx: Ctx,
    response: Response,
    namespace: Namespace,
    name: TargetName,
    precondition: Precondition,
    body: Annotated[TargetReplace, Depends(json_body(TargetReplace))],
) -> TargetView:
    """Replace the spec, and the labels if given. Tasks use the new spec from their next launch."""
    change = partial(replaced_target, body=body)
    return await ANSWERS.changed(
        ctx, response, "update", await edit_object(ctx.targets, namespace, name, precondition, change)
    )


@router.patch(
    "/namespaces/{namespace}/targets/{name}",
    operation_id="patchTarget",
    summary="Patch a target",
    responses=versioned("The updated target") | EDIT,
    openapi_extra=body_of(TargetPatch, {"spec": {"method": "PUT"}}, "application/merge-patch+json"),
)
async def patch_target(
    ctx: Ctx,
    response: Response,
    namespace: Namespace,
    name: TargetName,
    precondition: Precondition,
    body: Annotated[TargetPatch, Depends(json_body(TargetPatch))],
) -> TargetView:
    """Apply a JSON merge patch (RFC 7396) to labels and spec. The result is validated like a new target."""
    change = partial(patched_target, patch=body)
    return await ANSWERS.changed(
        ctx, response, "update", await edit_object(ctx.targets, namespace, name, precondition, change)
    )


@router.delete(
    "/namespaces/{namespace}/targets/{name}",
    operation_id="deleteTarget",
    summary="Delete a target",
    response_model=TargetDeleted,
    responses=DELETE,
)
async def remove_target(
    ctx: Ctx,
    namespace: Namespace,
    name: TargetName,
    precondition: Precondition,
    query: Annotated[TargetDeletion, Query()],
) -> TargetDeleted | Response:
    """Delete a target. If it is in use, the response is 409 and lists its users; cascade=true deletes them first.

    A task that is created during the deletion can be left without its target: it fails until a target of that name
    exists again. If a cascading deletion fails midway, the problem lists what was deleted and what is left.
    """
    deleted = await delete_target(ctx, namespace, name, precondition, cascade=query.cascade)
    if ctx.dry_run:
        return TargetDeleted(deleted=list(deleted), dry_run=target_deletion(name, deleted))
    return TargetDeleted(deleted=list(deleted)) if query.cascade else Response(status_code=204)


async def _create(ctx: Context, response: Response, namespace: str, body: TargetCreate) -> TargetView:
    return await ANSWERS.created(ctx, response, await ctx.targets.create(namespace, new_target(body, namespace)))


async def _list(ctx: Context, namespace: str | None, query: TargetQuery) -> TargetList:
    part = await page_of(ctx.targets, KIND_TARGET, namespace, query)
    return TargetList(items=[target_view(raw) for raw in part.items], next_cursor=part.next_cursor)
