"""Health and readiness: responses."""

from typing import Literal

from carillon_api.schemas.answers import Answer, Check


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    """Always ok."""


class Readiness(Answer):
    """Every dependency is available."""

    status: Literal["ready"] = "ready"
    """Always ready: otherwise the response is a problem with status 503."""
    checks: list[Check]
    """Every dependency."""
