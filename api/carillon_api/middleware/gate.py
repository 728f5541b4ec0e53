"""The gate before every route: only probes and documents are served without authentication.

ASGI middleware rather than a dependency of each route, so that no route
bypasses it. It puts the caller and the origin into the scope's state, where
``dependencies`` reads them.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.auth.access import AccessControl
from carillon_api.http.problems import error_response
from carillon_api.http.public_paths import is_documentation, is_public
from carillon_core.errors import CarillonError


class Gate:
    """ASGI middleware: authentication and the rate limit; the app's state has the ``Backends``."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request if it is authenticated or its path is public; other scopes are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        backends = scope["app"].state.backends
        access: AccessControl = backends.access
        origin = access.origin(scope)
        try:
            if is_public(scope["path"], metrics=backends.settings.metrics_public):
                if is_documentation(scope["path"]):
                    access.admit_reader(origin)
                await self._app(scope, receive, send)
                return
            admitted = await access.admit(Headers(scope=scope), origin)
        except CarillonError as error:
            await error_response(scope, error)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(caller=admitted.caller, origin=origin)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(admitted.headers)
            await send(message)

        await self._app(scope, receive, send_with_limits)
