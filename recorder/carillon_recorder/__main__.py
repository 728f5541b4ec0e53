"""``python -m carillon_recorder``: serve runners until a signal stops it."""

import asyncio
import os
import sys
from functools import partial

from carillon_core.adapters.postgres.recorder import Session
from carillon_core.logs import get_logger
from carillon_core.serving.certificate import Certificate
from carillon_core.serving.gate import GatedServer, gated_config
from carillon_core.serving.programs import listening_socket, run_server
from carillon_recorder.app import create_app
from carillon_recorder.pool import Pool
from carillon_recorder.server import (
    KEEP_ALIVE_SECONDS,
    MAX_HEAD_BYTES,
    MOST_CONNECTIONS,
    RecorderProtocol,
)
from carillon_recorder.settings import Settings

LISTEN_VARIABLES = "CARILLON_RECORDER_HOST", "CARILLON_RECORDER_PORT"
CERTIFICATE_VARIABLES = "CARILLON_RECORDER_CERT_FILE", "CARILLON_RECORDER_KEY_FILE"
GRACE_SECONDS = 20
"""How long requests in progress may take after the signal to stop; a kubelet waits 30 seconds."""
STATEMENT_SECONDS = 8
"""The time limit of a statement: shorter than a client waits for its answer. Some wait for a lock."""

log = get_logger(__name__)


def main() -> int:
    """Serve until a signal stops it; return 0, 1 (cannot listen) or 2 (misconfigured)."""
    return run_server("carillon-recorder", partial(Settings.from_env, os.environ), serve)


async def serve(settings: Settings) -> None:
    """Serve until a signal stops it; connections to the database are made when they are needed.

    Raises:
        SettingsError: The database's URL or the certificate is invalid.
        CannotListenError: The address cannot be listened on.

    """
    make = partial(Session, settings.database_url.get_secret_value(), "carillon-recorder", STATEMENT_SECONDS)
    make()  # an invalid URL is refused now
    certificate = None
    if settings.cert_file is not None and settings.key_file is not None:
        certificate = Certificate(settings.cert_file, settings.key_file, CERTIFICATE_VARIABLES)
    pool = Pool(make, settings.connections, settings.waiting)
    config = gated_config(
        create_app(pool),
        certificate,
        http=RecorderProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    with listening_socket(settings.host, settings.port, LISTEN_VARIABLES) as listener:
        log.info("listening", host=settings.host, port=settings.port, tls=certificate is not None)
        background = [asyncio.create_task(pool.tidy())]
        if certificate is not None:
            background.append(asyncio.create_task(certificate.follow()))
        try:
            await GatedServer(config, MOST_CONNECTIONS).serve(sockets=[listener])
        finally:
            for task in background:
                task.cancel()
            await pool.aclose()


if __name__ == "__main__":
    sys.exit(main())
