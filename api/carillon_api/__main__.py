"""``python -m carillon_api``: compose the facade from the real adapters and run it."""

import asyncio
import gc
import os
import sys
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

import uvicorn
from fastapi import FastAPI

from carillon_api.app import create_app
from carillon_api.auth.access import AccessControl
from carillon_api.auth.audit import AuditTrail
from carillon_api.auth.connections import Connections
from carillon_api.auth.served import ServedAPIServer, ServedAudit, ServedHistory, ServedPast, ServedReports
from carillon_api.events.hub import EventHub
from carillon_api.events.sources import ExecutionSource, Source, TaskSource
from carillon_api.http.server import KEEP_ALIVE_SECONDS, MAX_HEAD_BYTES, StreamingServer, limited_to
from carillon_api.observability.metrics import Metrics
from carillon_api.services.context import Backends
from carillon_api.settings import Settings
from carillon_core.adapters.breaker import Breaker
from carillon_core.adapters.kube.caller import KubeAPIServer
from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.adapters.kube.failures import API_SERVER
from carillon_core.adapters.kube.watch import KubeChangedTasks
from carillon_core.adapters.postgres.audit import PostgresAuditLog
from carillon_core.adapters.postgres.changes import PostgresChangedExecutions
from carillon_core.adapters.postgres.engine import WHAT as DATABASE
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.idempotency import PostgresIdempotency
from carillon_core.adapters.postgres.reports import PostgresReports
from carillon_core.adapters.postgres.revisions import PostgresPast
from carillon_core.adapters.postgres.roles.api_role import may_forge
from carillon_core.adapters.prompt import PromptAudit, PromptHistory, PromptIdempotency, PromptPast, PromptReports
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.serving.programs import listening_socket, run_server

LISTEN_VARIABLES = "CARILLON_API_HOST", "CARILLON_API_PORT"
GRACE_SECONDS = 20
"""How long requests in progress may take after the signal to stop; a kubelet waits 30 seconds."""
CALL_SECONDS = 5.0
"""How long a call to the database, or one to the API server that changes nothing, may take."""
WRITE_SECONDS = 12.0
"""How long a write to the API server may take; its admission webhooks have ten seconds."""
CONNECT_SECONDS = 3
LOOK_SECONDS = 30.0
"""How long to wait before an unavailable database is asked again for the API's privileges."""

log = get_logger(__name__)


def main() -> int:
    """Serve until a signal stops it; return 0, 1 (cannot listen) or 2 (misconfigured)."""
    return run_server("carillon-api", partial(Settings.from_env, os.environ), serve)


async def serve(settings: Settings) -> None:
    """Compose the app and serve it until a signal stops it; the adapters connect on first use.

    Raises:
        SettingsError: If the database's URL or the cluster's credentials are invalid.
        CannotListenError: If the address cannot be listened on.

    """
    metrics = Metrics()
    database_url = settings.database_url.get_secret_value()
    soon = Breaker(DATABASE, CALL_SECONDS)
    async with (
        KubeConnection(
            settings.kubeconfig,
            timeout_seconds=WRITE_SECONDS,
            observe=metrics.call_ended,
            breaker=Breaker(API_SERVER, CALL_SECONDS),
        ) as connection,
        aclosing(PostgresHistory.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as history,
        aclosing(PostgresAuditLog.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as audit_log,
        aclosing(PostgresIdempotency.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as keys,
        aclosing(PostgresReports.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as reports,
        aclosing(PostgresPast.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as revisions,
        aclosing(PostgresChangedExecutions.from_url(database_url, connect_seconds=CONNECT_SECONDS)) as changed,
        EventHub(
            _sources(connection, changed, settings), settings.event_streams, settings.event_streams_per_caller
        ) as events,
        # closed before its log, so that queued events are still written
        AuditTrail(ServedAudit(PromptAudit(audit_log, soon), settings.scope)) as audit,
    ):
        api_server = ServedAPIServer(KubeAPIServer(connection, settings.token_audiences), settings.scope)
        served = ServedHistory(PromptHistory(history, soon), settings.scope)
        access = AccessControl(api_server, settings, _now)
        aggregates = ServedReports(PromptReports(reports, Breaker(DATABASE, CALL_SECONDS)), settings.scope)
        past = ServedPast(PromptPast(revisions, soon), settings.scope)
        backends = Backends(
            api_server, served, _now, settings, access, audit, PromptIdempotency(keys, soon), aggregates, past, events
        )
        app = create_app(backends, metrics)
        _ = app.rendered  # now, not by the first request
        _freeze()
        config = _server_config(app, settings)
        with listening_socket(settings.host, settings.port, LISTEN_VARIABLES) as listener:
            log.info("listening", host=settings.host, port=settings.port, api_server=connection.server)
            looking = asyncio.create_task(warn_of_privileges(database_url))
            try:
                await StreamingServer(config, events.close).serve(sockets=[listener])
            finally:
                looking.cancel()


def _freeze() -> None:
    """Keep the garbage collector from the objects created so far, which live as long as the process.

    It would scan them repeatedly, which blocks the event loop for a tenth of a second.
    """
    gc.collect()
    gc.freeze()


def _sources(connection: KubeConnection, changed: PostgresChangedExecutions, settings: Settings) -> list[Source]:
    """Return what the streams of changes follow: the served namespaces only."""
    tasks = KubeChangedTasks(connection)
    return [
        ExecutionSource(changed, settings.scope.namespaces),
        *(TaskSource(tasks, namespace) for namespace in settings.scope.places),
    ]


def _server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,  # uvicorn's lines use the root logger's format, too
        access_log=False,  # RequestLog writes it, with the request id
        server_header=False,
        http=limited_to(Connections(settings.connections_per_address, settings.trusted_proxies)),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


async def warn_of_privileges(database_url: str, seconds: float = LOOK_SECONDS) -> None:
    """Log a warning if the API's database user may write tables that the API only reads.

    Args:
        database_url: The API's.
        seconds: How long to wait before an unavailable database is asked again.

    """
    while True:
        try:
            forges = await may_forge(database_url)
            break
        except UnavailableError:  # readiness reports it
            await asyncio.sleep(seconds)
    if forges:
        hint = (
            "set DATABASE_URL to the user that carillon-migrate api-role creates; with the Helm chart, add the key"
            " api-database-url to the Secret and set database.apiRole=true"
        )
        log.warning("the API's database user may change the whole history", hint=hint)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
