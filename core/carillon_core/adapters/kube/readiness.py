"""Waits at the start of an app until the API server responds and serves Carillon's kinds."""

import asyncio

from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.resources import names

log = get_logger(__name__)

PLURALS = (names.PLURAL, names.PLURAL_TARGETS, names.PLURAL_REQUESTS)


async def wait_until_ready(connection: KubeConnection, poll_seconds: float = 2.0) -> None:
    """Return once the API server serves every kind of Carillon's; log what is missing.

    Each reason to wait is logged once.

    Args:
        connection: To the API server.
        poll_seconds: The wait between two checks.

    Raises:
        ForbiddenError: The API server rejects the credentials or lacks permission; waiting would not help.

    """
    said = None
    while (missing := await _missing(connection)) is not None:
        if missing != said:
            log.warning("waiting for the cluster", why=missing, server=connection.server)
            said = missing
        await asyncio.sleep(poll_seconds)
    if said is not None:
        log.info("cluster ready", server=connection.server)


async def _missing(connection: KubeConnection) -> str | None:
    """Return what is missing and how to fix it; None if nothing is."""
    try:
        groups = await connection.request("GET", "/apis")
        if not any(g["name"] == names.GROUP for g in groups.get("groups") or ()):
            return _crd_missing(names.PLURAL)
        served = await connection.request("GET", f"/apis/{names.API_VERSION}")
    except UnavailableError as error:
        return str(error)
    known = {r["name"] for r in served.get("resources") or ()}
    return next((_crd_missing(plural) for plural in PLURALS if plural not in known), None)


def _crd_missing(plural: str) -> str:
    return f"the CRD {plural}.{names.GROUP} is not installed: kubectl apply -f crds/"
