"""Jobs as the API server shows them."""

from typing import Any

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.manifest import job_manifest
from carillon_core.domain.launch.order import slot_order
from support.builders import TASK_UID, at, make_task
from support.operator import TEMPLATE


def raw_job(namespace: str) -> dict[str, Any]:
    """Return a Job of a task of the same name in some namespace, as the API server shows it."""
    launch = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))
    made = job_manifest(slot_order(make_task().every(60).observed(), launch), TEMPLATE)
    meta = made["metadata"] | {"namespace": namespace, "uid": namespace, "creationTimestamp": "2026-01-01T00:01:00Z"}
    return made | {"metadata": meta, "status": {}}
