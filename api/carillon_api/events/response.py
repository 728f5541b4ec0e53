"""A stream as a response: it lives until its viewer is finished or its client is gone."""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carillon_api.events.viewer import Viewer

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events until its buffer is full
}


class EventStream(Response):
    """The response to one viewer; ``leave`` is called in the end."""

    media_type = MEDIA_TYPE
    charset = "utf-8"

    def __init__(self, viewer: Viewer, leave: Callable[[Viewer], None]) -> None:
        """Take the viewer."""
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._viewer = viewer
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as of every response
        """Send what the viewer yields."""
        listening = asyncio.create_task(self._listen(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in self._viewer.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            listening.cancel()
            self._leave(self._viewer)

    async def _listen(self, receive: Receive) -> None:
        """Finish when the client disconnects; nothing else wakes a stream to which nothing is sent."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._viewer.finish()


def head() -> Response:
    """Return the response to HEAD: the headers of a stream."""
    response = Response(headers=HEADERS, media_type=MEDIA_TYPE)
    del response.headers["content-length"]
    return response
