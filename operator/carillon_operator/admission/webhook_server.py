"""Serves the admission webhook for kopf, with limits that kopf's own server does not have.

Any pod may be able to reach the port and send anything, slowly or many times at
once. While the webhook is busy with that, objects are admitted without a review.
"""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import nullcontext, suppress

import kopf
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carillon_core.logs import get_logger
from carillon_core.serving.certificate import LOOK_SECONDS, Certificate
from carillon_core.serving.gate import GatedServer, gated_config
from carillon_core.serving.programs import listening_socket
from carillon_core.serving.punctual import PunctualProtocol
from carillon_operator.webhook_settings import WebhookSettings

TIMEOUT_SECONDS = 5
"""How long the API server waits for a response before it goes on without one."""
MOST_REVIEW_BYTES = 20 * 1024 * 1024
"""An object and the one that it replaces, each of at most 1.5 MiB, with six bytes for a character that JSON escapes."""
LARGE_BYTES = 1024 * 1024
"""Larger reviews are read one at a time."""
MOST_CONNECTIONS = 192
"""With TLS, each takes 0.3 MB."""
MOST_OF_ONE_ADDRESS = 96
"""An API server has a connection for each review that it waits for, and keeps at most 25 others."""
KEEP_ALIVE_SECONDS = 120
"""Longer than an API server keeps a connection without a request: it would send one as the connection is closed."""
LISTEN_VARIABLES = "CARILLON_WEBHOOK_ADDRESS", "CARILLON_WEBHOOK_PORT"
CERTIFICATE_VARIABLES = "CARILLON_WEBHOOK_CERT_FILE", "CARILLON_WEBHOOK_KEY_FILE"

log = get_logger(__name__)


class WebhookServer:
    """A server in the shape that kopf asks for: it gives a configuration for clients, and another when that changes."""

    look_seconds = LOOK_SECONDS

    def __init__(self, settings: WebhookSettings) -> None:
        """Take the settings; the files are read when it starts to serve."""
        self._settings = settings

    async def __call__(self, answer: kopf.WebhookFn) -> AsyncGenerator[kopf.WebhookClientConfig, None]:
        """Serve until the iteration ends.

        Raises:
            SettingsError: The certificate cannot be read.
            CannotListenError: The address cannot be listened on.
            OSError: The CA's certificate cannot be read.

        """
        settings = self._settings
        certificate = Certificate(settings.cert_file, settings.key_file, CERTIFICATE_VARIABLES)
        config = gated_config(
            review_app(answer),
            certificate,
            http=_Protocol,
            date_header=False,  # uvicorn's own loop would set it
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=TIMEOUT_SECONDS,
        )
        server = GatedServer(config, MOST_CONNECTIONS, MOST_OF_ONE_ADDRESS)
        address = settings.address or ("::" if socket.has_dualstack_ipv6() else "")
        with listening_socket(address, settings.port, LISTEN_VARIABLES) as listener:
            async with server.open(listener):
                bundle = self._bundle()
                while True:
                    yield self._client_config(bundle)
                    bundle = await self._next_bundle(bundle, certificate)

    async def _next_bundle(self, bundle: bytes, certificate: Certificate) -> bytes:
        """Follow the files until what the API server is to trust changes; return that."""
        while True:
            await asyncio.sleep(self.look_seconds)
            certificate.look()
            # while the files are replaced, one of them may be missing
            with suppress(OSError):
                if (now := self._bundle()) != bundle:
                    return now

    def _bundle(self) -> bytes:
        """Return what the API server is to trust: without a CA, the certificate itself."""
        return (self._settings.ca_file or self._settings.cert_file).read_bytes()

    def _client_config(self, bundle: bytes) -> kopf.WebhookClientConfig:
        host = self._settings.host or self._settings.address or "localhost"
        shown = f"[{host}]" if ":" in host else host
        return {"url": f"https://{shown}:{self._settings.port}", "caBundle": base64.b64encode(bundle).decode()}


class _Protocol(PunctualProtocol):
    arrival_seconds = TIMEOUT_SECONDS


def review_app(answer: kopf.WebhookFn) -> Starlette:
    """Return the ASGI app: a review is posted to ``/{plural}`` of its kind."""
    one_large = asyncio.Semaphore(1)

    async def review(request: Request) -> Response:
        length = request.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_REVIEW_BYTES:
            return _refusal(413, f"a review has a Content-Length, of at most {MOST_REVIEW_BYTES} bytes")
        try:
            # the API server does not wait longer
            async with asyncio.timeout(TIMEOUT_SECONDS), nullcontext() if int(length) <= LARGE_BYTES else one_large:
                asked = json.loads(await request.body())
                return JSONResponse(await answer(asked, webhook=request.path_params["plural"]))
        except TimeoutError:
            return _refusal(408, f"the review took longer than {TIMEOUT_SECONDS} s")
        except Exception as error:  # noqa: BLE001  # kopf's own errors are not public, and it fails on what is no review
            # with Ignore, the object is admitted unchecked
            log.warning("admission review not answered", why=f"{type(error).__name__}: {str(error)[:200]}")
            return _refusal(400, "the body is no AdmissionReview of a ScheduledTask, an HTTPTarget or a RunRequest")

    return Starlette(routes=[Route("/{plural}", review, methods=["POST"])])


def _refusal(status: int, why: str) -> Response:
    # the body may not have been read
    return PlainTextResponse(why, status, {"Connection": "close"})
