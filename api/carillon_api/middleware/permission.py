"""RBAC before the body: a caller without the permission of an operation is refused before its body is read.

ASGI middleware inside the gate, so that it knows the caller, and around
``Idempotency``, so that nothing is kept for a caller who may not make the
call. The API server decides again when the call is made. It covers the
operations that read a body or honour an ``Idempotency-Key``; a test compares
them with the OpenAPI document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from carillon_api.auth.access import AccessControl
from carillon_api.auth.served import check_served
from carillon_api.http.operations import Operations
from carillon_api.http.problems import error_response
from carillon_api.schemas.checks import dns_label_problem
from carillon_api.settings import Settings
from carillon_core.domain.access.subjects import RESOURCE_EXECUTIONS, Access, Subject
from carillon_core.errors import CarillonError, ForbiddenError, NotFoundError
from carillon_core.ports import HistoryReader
from carillon_core.resources.names import PLURAL, PLURAL_REQUESTS, PLURAL_TARGETS

NEEDED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("POST", "/api/v1/tasks"): ("create", PLURAL),
    ("POST", "/api/v1/namespaces/{namespace}/tasks"): ("create", PLURAL),
    ("PUT", "/api/v1/namespaces/{namespace}/tasks/{name}"): ("update", PLURAL),
    ("PATCH", "/api/v1/namespaces/{namespace}/tasks/{name}"): ("update", PLURAL),
    ("POST", "/api/v1/targets"): ("create", PLURAL_TARGETS),
    ("POST", "/api/v1/namespaces/{namespace}/targets"): ("create", PLURAL_TARGETS),
    ("PUT", "/api/v1/namespaces/{namespace}/targets/{name}"): ("update", PLURAL_TARGETS),
    ("PATCH", "/api/v1/namespaces/{namespace}/targets/{name}"): ("update", PLURAL_TARGETS),
    ("POST", "/api/v1/namespaces/{namespace}/tasks/{name}/run"): ("create", PLURAL_REQUESTS),
    ("POST", "/api/v1/run-task"): ("create", PLURAL_REQUESTS),
    ("POST", "/api/v1/executions/{id}/retry"): ("create", PLURAL_REQUESTS),
    ("POST", "/api/v1/tasks/bulk"): ("list", PLURAL),
    ("POST", "/api/v1/namespaces/{namespace}/tasks/bulk"): ("list", PLURAL),
    ("POST", "/api/v1/executions/bulk"): ("list", RESOURCE_EXECUTIONS),
    ("POST", "/api/v1/namespaces/{namespace}/executions/bulk"): ("list", RESOURCE_EXECUTIONS),
}
"""The verb and the resource of each operation, by its method and path."""
EVERYWHERE = frozenset({"/api/v1/tasks/bulk", "/api/v1/executions/bulk"})
"""The paths whose permission is needed in all served namespaces."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The permission that the caller of a request has shown; the scope's state has it under ``permit``."""

    control: AccessControl
    subject: Subject
    accesses: Sequence[Access]

    async def renew(self) -> None:
        """Return if the caller still has the permission; the API server is asked.

        Raises:
            ForbiddenError: The caller has lost it.

        """
        for access in self.accesses:
            await self.control.require(self.subject, access, now=True)


class Permission:
    """ASGI middleware; the app's state has the ``Backends``, the scope's state the caller."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request if its operation needs no permission that is known here, or the caller has it."""
        if scope["type"] == "http" and "caller" in scope.get("state", {}):
            try:
                permit = await _permit(scope)
            except CarillonError as error:
                await error_response(scope, error)(scope, receive, send)
                return
            if permit is not None:
                scope["state"]["permit"] = permit
        await self._app(scope, receive, send)


async def _permit(scope: Scope) -> Permit | None:
    """Return the caller's permit; None if the operation has no such permission, or the route will refuse the request.

    Raises:
        ForbiddenError: The caller lacks the permission, or the namespace is not served.

    """
    operations: Operations = scope["app"].operations
    template = operations.template(scope["method"], scope["path"])
    needed = NEEDED.get((scope["method"], template or ""))
    if template is None or needed is None:
        return None
    backends = scope["app"].state.backends
    control: AccessControl = backends.access
    settings: Settings = backends.settings
    subject: Subject = scope["state"]["caller"].subject
    parameters = operations.parameters(template, scope["path"])
    verb, resource = needed
    if template in EVERYWHERE:
        places = settings.scope.namespaces or (None,)
        everywhere = [Access(verb=verb, resource=resource, namespace=place) for place in places]
        return await _shown(Permit(control, subject, everywhere))
    if "id" in parameters:
        namespace = await _namespace_of(backends.executions, control, subject, parameters["id"])
    else:
        namespace = parameters.get("namespace") or _queried(scope) or settings.default_namespace
    if namespace is None or dns_label_problem(namespace):
        return None
    check_served(settings.scope, namespace)
    name = parameters.get("name") if verb == "update" else None
    return await _shown(
        Permit(control, subject, [Access(verb=verb, resource=resource, namespace=namespace, name=name)])
    )


async def _shown(permit: Permit) -> Permit:
    """Return a permit whose permission the caller has.

    Raises:
        ForbiddenError: The caller lacks it.

    """
    for access in permit.accesses:
        await permit.control.require(permit.subject, access)
    return permit


async def _namespace_of(history: HistoryReader, control: AccessControl, subject: Subject, execution: str) -> str | None:
    """Return the namespace of an execution; None if the caller may not know of it, which the route answers."""
    try:
        record = await history.get(UUID(execution))
        access = Access(verb="get", resource=RESOURCE_EXECUTIONS, namespace=record.namespace)
        await control.require(subject, access)
    except (ValueError, NotFoundError, ForbiddenError):
        return None
    return record.namespace


def _queried(scope: Scope) -> str | None:
    return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("namespace", ())), None)
