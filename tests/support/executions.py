"""Executions in the history of a facade."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from support.api import NOW, Facade

EXECUTIONS = "/api/v1/executions"
FAILED, RUNNING, SUCCEEDED = ExecutionStatus.FAILED, ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED
REASON = "HTTP5xx"
ADD: dict[str, Any] = {"schedule": "* * * * *", "task": {"sum": {"a": 1, "b": 2}}}
NAMESPACED = [Rule(["get", "list"], ["executions"], "team-a")]


def row(minute: int = 0, **fields: Any) -> ExecutionRecord:
    """Return a failed execution of ``nightly``."""
    slot = NOW + timedelta(minutes=minute)
    uid = fields.pop("task_uid", str(UUID(int=7)))
    given: dict[str, Any] = {
        "id": execution_id(uid, slot, Cause.SCHEDULE),
        "task_uid": uid,
        "namespace": "team-a",
        "task": "nightly",
        "task_type": "sum",
        "slot": slot,
        "cause": Cause.SCHEDULE,
        "status": FAILED,
        "started_at": slot,
        "finished_at": slot + timedelta(seconds=2),
        "job_name": f"nightly-{minute}",
    }
    if fields.get("status") is RUNNING:
        given["finished_at"] = None
    return ExecutionRecord(**{**given, **fields})


async def of_a_task(rest: Facade, **fields: Any) -> ExecutionRecord:
    """Create a task, and return a recorded execution of it."""
    uid = (await rest.create(spec=ADD)).json()["uid"]
    record = row(task_uid=uid, **fields)
    await rest.history.record([record])
    return record


async def the_requests(rest: Facade) -> list[dict[str, Any]]:
    """Return the RunRequests."""
    return list(await rest.server.stores["RunRequest"].list(None))
