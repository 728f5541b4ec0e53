"""The paths that need no credential: probes, documentation and, depending on the settings, metrics. Pure."""

METRICS = "/metrics"
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/redoc", "/openapi.json"})
PUBLIC_FOLDERS = ("/docs-assets/",)


def is_public(path: str, *, metrics: bool) -> bool:
    """Return whether a path is served without a credential.

    Args:
        path: As the router will see it.
        metrics: Whether ``/metrics`` is.

    """
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS) or (metrics and path == METRICS)
