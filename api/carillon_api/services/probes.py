"""Readiness checks for the kubelet, the state of the system, and the permission to read the metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from carillon_api.auth.authentication import Caller
from carillon_api.http.problems import without_secrets
from carillon_api.http.public_paths import METRICS
from carillon_api.schemas import Check, Component, SystemHealth
from carillon_api.services.context import Backends
from carillon_core.domain.access.subjects import Access
from carillon_core.errors import CarillonError, ForbiddenError, UnavailableError
from carillon_core.ports import HistorySummary

PING_SECONDS = 3.0
"""How long to wait for a response: less than the kubelet's usual timeout."""
MAINTAINED_WITHIN = timedelta(hours=2)
"""The operator maintains the history every hour."""


async def readiness_checks(given: Backends) -> Sequence[Check]:
    """Check the database and the API server concurrently."""
    return await asyncio.gather(
        _check("database", given.executions.ping),
        _check("API server", given.api_server.ping),
    )


def system_health_of(history: HistorySummary | None, now: datetime) -> SystemHealth:
    """Return the state of the system while the database and the API server are up."""
    maintained_at = None if history is None else history.maintained_at
    lately = maintained_at is not None and now - maintained_at < MAINTAINED_WITHIN
    return SystemHealth(
        status="ok" if lately else "degraded",
        components=[
            Component(name="database", status="up"),
            Component(name="apiServer", status="up"),
            Component(name="operator", status="up" if lately else "unknown"),
        ],
    )


async def _check(name: str, ping: Callable[[], Awaitable[None]]) -> Check:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await ping()
    except TimeoutError:
        return Check(name=name, ok=False, why=f"no answer within {PING_SECONDS:g} seconds")
    except UnavailableError as error:
        return Check(name=name, ok=False, why=without_secrets(error.why))
    except CarillonError as error:
        return Check(name=name, ok=False, why=without_secrets(str(error)))
    return Check(name=name, ok=True)


async def check_may_scrape(given: Backends, caller: Caller) -> None:
    """Return if a caller may read the metrics, by RBAC's ``nonResourceURLs``.

    Raises:
        ForbiddenError: If not; the message names the rule that allows it.

    """
    decision = await given.access.review(caller.subject, Access(verb="get", resource="", path=METRICS))
    if not decision.allowed:
        remedy = f'grant it by a ClusterRole with nonResourceURLs: ["{METRICS}"] and verbs: ["get"]'
        raise ForbiddenError(f'User "{caller.subject.name}" cannot get path "{METRICS}": {remedy}')
