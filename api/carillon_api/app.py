"""The factory of the app: what is composed here is all that the routes know."""

from typing import cast

from fastapi import FastAPI

from carillon_api.dependencies import Backends
from carillon_api.described import CarillonAPI
from carillon_api.docs import install_docs
from carillon_api.gate import Gate
from carillon_api.middleware import RequestLog
from carillon_api.problems import install_problem_handlers
from carillon_api.routes import audit as audit_routes
from carillon_api.routes import executions as execution_routes
from carillon_api.routes import health as health_routes
from carillon_api.routes import preview as preview_routes
from carillon_api.routes import run_task as run_task_routes
from carillon_api.routes import runs as run_routes
from carillon_api.routes import targets as target_routes
from carillon_api.routes import tasks as task_routes
from carillon_api.routes import upcoming as upcoming_routes

VERSION = "v1"
"""The version of the REST API, not of the release: it stands in the path."""
DESCRIPTION = (
    "Scheduled tasks as custom resources of Kubernetes, and the history of what ran. A task's `spec` is the custom "
    "resource's `spec`, word for word. Every error is `application/problem+json` (RFC 9457)."
)


def create_app(backends: Backends) -> FastAPI:
    """Return the app over what it works with, which the caller opens and closes."""
    app = CarillonAPI(
        title="Carillon",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.backends = backends
    app.add_middleware(Gate)
    app.add_middleware(RequestLog)  # around the gate: what it refuses is logged too
    install_problem_handlers(app)
    for router in (
        task_routes.router,
        target_routes.router,
        run_routes.router,
        run_task_routes.router,
        upcoming_routes.router,
        preview_routes.router,
        execution_routes.router,
        audit_routes.router,
    ):
        app.include_router(router, prefix="/api/v1")
    app.include_router(health_routes.router)
    install_docs(app, "/openapi.json")
    return app


def describing_app() -> FastAPI:
    """Return an app that can describe itself and nothing else: its routes have nothing to work with."""
    return create_app(cast("Backends", None))
