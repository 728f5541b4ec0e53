"""The app factory: it composes middleware, error handlers and routes."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from carillon_api.http.headers import (
    API_KEY_HEADER,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    REPLAYED,
    REQUEST_ID,
)
from carillon_api.http.problems import install_problem_handlers
from carillon_api.middleware.conditional import ConditionalGet
from carillon_api.middleware.gate import Gate
from carillon_api.middleware.idempotency import Idempotency
from carillon_api.middleware.methods import Methods
from carillon_api.middleware.permission import Permission
from carillon_api.middleware.request_log import LastResort, RequestLog
from carillon_api.middleware.security_headers import SecurityHeaders
from carillon_api.observability.metrics import Metrics
from carillon_api.openapi_document.described import CarillonAPI
from carillon_api.openapi_document.docs import install_docs
from carillon_api.routes import audit as audit_routes
from carillon_api.routes import bulk as bulk_routes
from carillon_api.routes import events as event_routes
from carillon_api.routes import executions as execution_routes
from carillon_api.routes import preview as preview_routes
from carillon_api.routes import reports as report_routes
from carillon_api.routes import run_task as run_task_routes
from carillon_api.routes import runs as run_routes
from carillon_api.routes import targets as target_routes
from carillon_api.routes import tasks as task_routes
from carillon_api.routes import upcoming as upcoming_routes
from carillon_api.routes.system import health as health_routes
from carillon_api.routes.system import metrics as metric_routes
from carillon_api.services.context import Backends

VERSION = "v1"
"""The version of the REST API, as in its paths; not the version of the release."""
DESCRIPTION = (
    "Schedule tasks on Kubernetes, run them on demand, and read their history. A task's `spec` is the same as in the "
    "ScheduledTask custom resource. Every error is `application/problem+json` (RFC 9457)."
)

GZIP_FROM_BYTES = 1024
"""Smaller responses fit into one packet anyway."""
GZIP_LEVEL = 5
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CORS_REQUEST_HEADERS = (
    "Authorization",
    API_KEY_HEADER,
    "Content-Type",
    IF_MATCH,
    IF_NONE_MATCH,
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    REQUEST_ID,
)
CORS_RESPONSE_HEADERS = (
    "ETag",
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    REPLAYED,
    REQUEST_ID,
)
CORS_SECONDS = 600


def create_app(backends: Backends | None, metrics: Metrics | None = None) -> CarillonAPI:
    """Return the app; the caller opens and closes its backends.

    Args:
        backends: The ports and settings; None makes an app that can only describe itself.
        metrics: Counts the requests; default: a new instance.

    """
    app = CarillonAPI(
        title="Carillon",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # served by ``install_docs``, rendered once
        redirect_slashes=False,
    )
    app.state.backends = backends
    app.state.metrics = metrics or Metrics()
    _add_middleware(app, () if backends is None else backends.settings.cors_origins)
    install_problem_handlers(app)
    for router in (
        task_routes.router,
        target_routes.router,
        run_routes.router,
        run_task_routes.router,
        upcoming_routes.router,
        preview_routes.router,
        execution_routes.router,
        bulk_routes.router,
        *report_routes.ROUTERS,
        metric_routes.router,
        audit_routes.router,
        event_routes.router,
    ):
        app.include_router(router, prefix="/api/v1")
    app.include_router(health_routes.router)
    app.include_router(metric_routes.scrape_router)
    install_docs(app)
    return app


def describing_app() -> CarillonAPI:
    """Return an app without backends, which can only describe itself."""
    return create_app(None)


def _add_middleware(app: FastAPI, cors_origins: Sequence[str]) -> None:
    """Add the middlewares, from the innermost to the outermost."""
    app.add_middleware(ConditionalGet)
    app.add_middleware(Idempotency)
    app.add_middleware(Permission)
    app.add_middleware(Gate)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)
    app.add_middleware(Methods)
    app.add_middleware(LastResort)
    if cors_origins:
        # around everything that responds, so that pages of other origins can read errors, too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
            max_age=CORS_SECONDS,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestLog, metrics=app.state.metrics)
