"""The recorder's ASGI app: one endpoint for each operation, and health and metrics beside them."""

import asyncio
import time
from contextlib import suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carillon_core.adapters.postgres.recorder import PostgresRecorder
from carillon_core.logs import get_logger
from carillon_core.recording.port import RecorderUnavailableError, RecordRefusedError
from carillon_core.recording.wire import PATH, Operation
from carillon_recorder.bodies import Bodies
from carillon_recorder.metrics import Metrics
from carillon_recorder.operations import Answer, most_bytes, work_of
from carillon_recorder.pool import Pool
from carillon_recorder.refusals import RefusedRequestError
from carillon_recorder.tokens import token_for

READY_SECONDS = 5.0
"""How recent an answer of the database must be for the recorder to be ready without asking again."""
_GONE = "Gone"

log = get_logger(__name__)


def create_app(pool: Pool) -> Starlette:
    """Return the app; the caller closes the pool."""
    recorder = _Recorder(pool)
    return Starlette(
        routes=[
            Route(PATH, recorder.record, methods=["POST"]),
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/readyz", recorder.ready, methods=["GET"]),
            Route("/metrics", recorder.metrics, methods=["GET"]),
        ],
        exception_handlers={RefusedRequestError: _refused, HTTPException: _not_found},
    )


class _Recorder:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._bodies = Bodies()
        self._metrics = Metrics(lambda: pool.waiting, lambda: pool.open)

    async def record(self, request: Request) -> Response:
        """Carry out an operation of the execution whose token the request has."""
        began = time.monotonic()
        try:
            operation = Operation(request.path_params["operation"])
        except ValueError:
            raise RefusedRequestError(404, "NotFound", "there is no such operation") from None
        code = _GONE
        try:
            answer = await self._answer(request, operation)
            code = "OK"
            return JSONResponse(answer)
        except RefusedRequestError as refusal:
            code = refusal.code
            if refusal.retry_after is None:
                execution = request.path_params["execution"][:36]
                log.info("refused", operation=operation.value, code=code, why=refusal.detail, execution=execution)
            raise
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        finally:
            self._metrics.request_ended(operation.value, code, time.monotonic() - began)

    async def _answer(self, request: Request, operation: Operation) -> Answer:
        token = token_for(request.headers.get("Authorization"), request.path_params["execution"])
        async with self._bodies.body_of(request, most_bytes(operation)) as body:
            work = work_of(operation, body)
            running = asyncio.create_task(self._pool.run(token, work))
            gone = asyncio.create_task(_disconnected(request))
            try:
                await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not running.done():
                    raise ClientDisconnect
                return running.result()
            except RecordRefusedError as error:
                raise _refusal(error) from error
            except RecorderUnavailableError as error:
                retry_after = max(1, int(error.retry_after))
                raise RefusedRequestError(
                    503, "Unavailable", str(error), retry_after=retry_after, in_doubt=error.in_doubt
                ) from error
            finally:
                gone.cancel()
                running.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await running

    async def ready(self, _request: Request) -> Response:
        """Say whether the database answers, or answered a request just now."""
        if time.monotonic() - self._pool.succeeded_at < READY_SECONDS:
            return JSONResponse({"status": "ready"})
        try:
            await self._pool.run("", PostgresRecorder.look)
        except RecordRefusedError:
            # an empty token is refused by the functions themselves: they can be called
            return JSONResponse({"status": "ready"})
        except (RecorderUnavailableError, RefusedRequestError) as error:
            return JSONResponse({"status": "not ready", "why": str(error)}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        """Return the metrics."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _healthy(_request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedRequestError):
        raise error
    return error.response()


async def _not_found(_request: Request, error: Exception) -> Response:
    """Answer what matches no route as every other refusal."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    detail = f"POST {PATH} is what runners call"
    return RefusedRequestError(status, "NotFound" if status == 404 else "MethodNotAllowed", detail).response()  # noqa: PLR2004  # of HTTP


def _refusal(error: RecordRefusedError) -> RefusedRequestError:
    if error.is_token:
        return RefusedRequestError(401, "RefusedToken", str(error))
    return RefusedRequestError(422, "Refused", str(error))
