"""The OpenAPI document and the documentation pages. Anyone may read them, so they are rendered once.

The pages' scripts are served locally; FastAPI's own pages load them from a CDN.

The scripts (Swagger UI 5 and ReDoc) come with the package ``fastapi-offline``. Each page has a Content-Security-Policy
that allows these scripts and the page's inline script, by its hash.
"""

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response

from carillon_api.http.public_paths import DOCUMENT
from carillon_api.openapi_document.described import CarillonAPI

ASSETS = "/docs-assets"


def install_docs(app: CarillonAPI) -> None:
    """Serve ``/openapi.json``, ``/docs`` (Swagger UI) and ``/redoc``."""
    assets = str(files("fastapi_offline") / "static")
    app.mount(ASSETS, StaticFiles(directory=assets), name="docs-assets")
    favicon = f"{ASSETS}/favicon.png"

    swagger = get_swagger_ui_html(
        openapi_url=DOCUMENT,
        title=app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=favicon,
    )
    redoc = get_redoc_html(
        openapi_url=DOCUMENT,
        title=app.title,
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=favicon,
        with_google_fonts=False,
    )

    @app.get(DOCUMENT, include_in_schema=False)
    async def document(request: Request) -> Response:
        rendered = app.rendered
        headers = {"Cache-Control": "no-cache"}  # may be stored, but is asked for again
        if "gzip" in request.headers.get(
            "Accept-Encoding", ""
        ):  # as the middleware decides, which would compress again
            headers |= {"ETag": rendered.gzip_etag, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(rendered.gzip, headers=headers, media_type="application/json")
        return Response(rendered.plain, headers=headers | {"ETag": rendered.etag}, media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return _with_policy(swagger)

    @app.get("/redoc", include_in_schema=False)
    async def redoc_page() -> HTMLResponse:
        return _with_policy(redoc)


def _with_policy(page: HTMLResponse) -> HTMLResponse:
    """Return a page with its Content-Security-Policy."""
    html = bytes(page.body)
    return HTMLResponse(html, headers={"Content-Security-Policy": content_policy(html.decode())})


def content_policy(html: str) -> str:
    """Return the ``Content-Security-Policy`` of a page: its inline scripts and ours, and no other host."""
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",  # both pages add inline styles
            "img-src 'self' data:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src blob:",  # ReDoc's search runs in a worker
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
