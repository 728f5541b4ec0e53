"""A claim that is rolled back, which shows that a runner's login can record. ``login_role`` makes it.

Privileges alone do not show it: a default of the role's sessions may stop every claim.
"""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from carillon_core.domain.launch.execution_token import TokenKey

Connection = psycopg.Connection[tuple[Any, ...]]

_KNOWN = "INSERT INTO runner_keys (id, inner_pad, outer_pad, used_at) VALUES (%s, %s, %s, now())"
_FORGOTTEN = "DELETE FROM runner_keys WHERE id = %s"


def try_claim(owner: Callable[[], AbstractContextManager[Connection]], runner: Connection) -> bool:
    """Claim an execution that does not exist, and roll back; return whether its row was written.

    Args:
        owner: Opens a transaction of the tables' owner: another one has to see the key of the token.
        runner: A connection of the runner's.

    Raises:
        psycopg.Error: The claim fails.

    """
    key = TokenKey(secrets.token_bytes(32))
    uid = str(uuid4())
    names = dict.fromkeys(("namespace", "task", "task_type", "job_name"), "carillon-migrate")
    ids = {"id": uid, "task_uid": uid, "origin": uid, "cause": "manual"}
    token = key.token({**names, **ids, "slot": datetime.now(UTC).isoformat()})
    with owner() as connection:
        connection.execute(_KNOWN, [key.id, *key.pads])
    try:
        row = runner.execute("SELECT carillon_runner.claim(%s, 'carillon-migrate') IS NOT NULL", [token]).fetchone()
        return row == (True,)
    finally:
        runner.rollback()
        with owner() as connection:
            connection.execute(_FORGOTTEN, [key.id])
