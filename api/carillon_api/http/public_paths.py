"""The paths that need no credential: probes, documentation and, depending on the settings, metrics. Pure."""

METRICS = "/metrics"
"""Also the path whose permission counts for both paths."""
METRICS_PATHS = frozenset({METRICS, "/api/v1/metrics/prometheus"})
DOCUMENT = "/openapi.json"
PROBES = frozenset({"/healthz", "/readyz", "/api/v1/health"})
DOCUMENTATION = frozenset({"/docs", "/redoc", DOCUMENT})
PUBLIC_PATHS = PROBES | DOCUMENTATION
PUBLIC_FOLDERS = ("/docs-assets/",)


def is_public(path: str, *, metrics: bool) -> bool:
    """Return whether a path is served without a credential.

    Args:
        path: As the router will see it.
        metrics: Whether the metrics are.

    """
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS) or (metrics and path in METRICS_PATHS)


def is_documentation(path: str) -> bool:
    """Return whether a path belongs to the documentation, which is limited for each address; probes are not."""
    return path in DOCUMENTATION or path.startswith(PUBLIC_FOLDERS)
