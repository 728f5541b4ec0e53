"""The audit log: who changed what through the API."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import problem_responses
from carillon_api.routes.dependencies import Ctx
from carillon_api.schemas.audit import AuditEventsQuery, AuditList
from carillon_api.services.history import audit_page

router = APIRouter(tags=["audit"])


@router.get("/audit", operation_id="listAuditEvents", summary="List changes", responses=problem_responses())
async def list_audit_events(ctx: Ctx, query: Annotated[AuditEventsQuery, Query()]) -> AuditList:
    """List changes, newest first. Requires the verb list on auditevents in the namespace, or in all namespaces."""
    return await audit_page(ctx, query)
