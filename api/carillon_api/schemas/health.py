"""Whether the process lives and has what it needs: answers."""

from typing import Literal

from carillon_api.schemas.answers import Answer, Check


class Health(Answer):
    """The process lives."""

    status: Literal["ok"] = "ok"
    """Always ok: a process that does not live does not answer."""


class Readiness(Answer):
    """Everything needed is there."""

    status: Literal["ready"] = "ready"
    """Always ready: otherwise the answer is a problem of status 503."""
    checks: list[Check]
    """One by one."""
