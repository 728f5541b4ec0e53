"""An intruder with the runners' login and the token of one execution, and the functions to attack."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from support.runner import SLOT, TOKEN_KEY, register

POD = "report-1-x"
REFUSED_TOKEN = "RT001"  # noqa: S105  # an SQLSTATE
UNKNOWN_KEY = "RT002"
ATTEMPTS = '[{"number": 1, "status": "succeeded"}]'


def payload(**changed: Any) -> dict[str, Any]:
    """Return the content of an execution's token."""
    uid = str(uuid4())
    return {
        "id": str(uuid4()),
        "task_uid": uid,
        "origin": uid,
        "namespace": "shop",
        "task": "report",
        "task_type": "counter",
        "slot": SLOT.isoformat(),
        "cause": "schedule",
        "job_name": "report-1",
        "counter": "report",
        **changed,
    }


@dataclass
class Intruder:
    """An attacker with the runners' login and the token of a running execution, and its victim."""

    connection: psycopg.Connection[tuple[Any, ...]]
    url: str
    owner_url: str
    own: dict[str, Any]
    token: str
    victim: dict[str, Any]
    victim_token: str

    def run(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """Execute a statement with the attacker's token, unless another is given."""
        done = self.connection.execute(statement.encode(), {"token": self.token, "pod": POD, "victim": POD, **given})
        return done.fetchall() if done.description else []

    def owner(self, statement: str, *given: object) -> list[tuple[Any, ...]]:
        """Execute a statement as the owner."""
        with psycopg.connect(self.owner_url) as connection:
            done = connection.execute(statement.encode(), given)
            return done.fetchall() if done.description else []

    def others(self) -> list[tuple[Any, ...]]:
        """Return everything that is not the attacker's own."""
        own = self.own["id"]
        return [
            *self.owner("SELECT to_jsonb(e) FROM executions AS e WHERE id <> %s ORDER BY id", own),
            *self.owner("SELECT to_jsonb(a) FROM attempts AS a WHERE execution_id <> %s ORDER BY execution_id", own),
            *self.owner("SELECT to_jsonb(c) FROM counters AS c ORDER BY namespace, name"),
            *self.owner("SELECT to_jsonb(k) - 'used_at' FROM runner_keys AS k ORDER BY id"),
        ]


@pytest.fixture
def intruder(database_url: str, runner_database_url: str) -> Iterator[Intruder]:
    """Provide an attacker and a victim, both with a running execution."""
    register(database_url, TOKEN_KEY)
    own, victim = payload(), payload(namespace="bank", slot="2026-01-01T00:06:00+00:00")
    with psycopg.connect(runner_database_url, autocommit=True) as connection:
        made = Intruder(
            connection=connection,
            url=runner_database_url,
            owner_url=database_url,
            own=own,
            token=TOKEN_KEY.token(own),
            victim=victim,
            victim_token=TOKEN_KEY.token(victim),
        )
        made.run("SELECT carillon_runner.claim(%(token)s, %(pod)s)")
        made.run("SELECT carillon_runner.claim(%(token)s, %(pod)s)", token=made.victim_token)
        made.owner("INSERT INTO counters VALUES ('bank', 'report', 7, now()), ('shop', 'till', 7, now())")
        yield made


def swapped(intruder: Intruder) -> str:
    """Return the victim's payload with the attacker's signature."""
    return ".".join((*intruder.victim_token.split(".")[:2], intruder.token.split(".")[2]))


CALLS = {
    "claim": "SELECT carillon_runner.claim(%(token)s, %(pod)s)",
    "look": "SELECT * FROM carillon_runner.look(%(token)s)",
    "lock_row": "SELECT * FROM carillon_runner.lock_row(%(token)s)",
    "last_attempt": "SELECT * FROM carillon_runner.last_attempt(%(token)s)",
    "take_over": "SELECT carillon_runner.take_over(%(token)s, 'mine', 2, 'e')",
    "close_lost": "SELECT carillon_runner.close_lost(%(token)s, 'mine', 'e')",
    "save_attempts": f"SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, '{ATTEMPTS}')",
    "close_row": f"SELECT carillon_runner.close_row(%(token)s, %(pod)s, 'failed', 'r', 'e', null, now(), '{ATTEMPTS}')",
    "increment": f"SELECT carillon_runner.increment(%(token)s, %(pod)s, 'report', '{ATTEMPTS}')",
}
