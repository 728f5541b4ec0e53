"""Health and readiness: responses."""

from typing import Literal

from carillon_api.schemas.answers import Answer, Check


class Health(Answer):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    """Always ok."""


class Component(Answer):
    """A part of the system, as the API sees it."""

    name: Literal["database", "apiServer", "operator"]
    """The part."""
    status: Literal["up", "unknown"]
    """Whether it works. The API does not talk to the operator: it is up if it has maintained the history in the last
    two hours, and otherwise unknown."""


class SystemHealth(Answer):
    """The state of the system. If the database or the API server is down, the response is a problem with status 503."""

    status: Literal["ok", "degraded"]
    """Whether all components are up; degraded if some may not be."""
    components: list[Component]
    """The components."""


class Readiness(Answer):
    """Every dependency is available."""

    status: Literal["ready"] = "ready"
    """Always ready: otherwise the response is a problem with status 503."""
    checks: list[Check]
    """Every dependency."""
