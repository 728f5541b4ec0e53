"""The audit: who has changed what through the facade."""

from dataclasses import asdict
from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import problem_responses
from carillon_api.routes.dependencies import Ctx
from carillon_api.schemas.audit import AuditEventsQuery, AuditEventView, AuditList
from carillon_core.domain.access.subjects import RESOURCE_AUDIT
from carillon_core.ports import AuditQuery

router = APIRouter(tags=["audit"])


@router.get("/audit", operation_id="listAuditEvents", summary="List changes", responses=problem_responses())
async def list_audit_events(ctx: Ctx, query: Annotated[AuditEventsQuery, Query()]) -> AuditList:
    """List changes, newest first; needs the verb list on auditevents, in the namespace or, without one, in all."""
    await ctx.authorize("list", RESOURCE_AUDIT, query.namespace)
    page = await ctx.backends.audit.log.list(
        AuditQuery(
            namespace=query.namespace,
            resource=query.resource,
            name=query.name,
            subject=query.subject,
            since=query.since and query.since.astimezone(UTC),
            until=query.until and query.until.astimezone(UTC),
            limit=query.limit,
            cursor=query.cursor,
        )
    )
    return AuditList(items=[AuditEventView(**asdict(event)) for event in page.items], next_cursor=page.next_cursor)
