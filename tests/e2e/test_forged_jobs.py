"""Jobs that a tenant forges for another namespace's task do not keep that task from running."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from carillon_core.domain.execution import job_name
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from support.manifests import task
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

SECONDS = 5
SLOTS = 20


@pytest.fixture
def neighbour(stack: Stack, namespace: str) -> Iterator[str]:
    """Give a namespace of another tenant."""
    with stack.new_namespace(f"{namespace}-neighbour") as name:
        yield name


def forged(namespace: str, owner: dict[str, Any], slot: datetime) -> dict[str, Any]:
    """Return a Job as the operator would launch it for a slot of the owner, which fails at once."""
    meta = owner["metadata"]
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_TASK: meta["name"],
        names.LABEL_TASK_UID: meta["uid"],
    }
    reference = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    container = {"name": "c", "image": "test/missing:1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(meta["name"], slot),
            "namespace": namespace,
            "labels": labels,
            "annotations": {names.ANNOTATION_SLOT: rfc3339(slot)},
            "ownerReferences": [reference],
        },
        "spec": {
            "activeDeadlineSeconds": 1,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            },
        },
    }


def test_jobs_forged_by_a_neighbour_take_no_slot(stack: Stack, namespace: str, neighbour: str) -> None:
    """The task runs at each of its slots, and the neighbour's namespace gets no row."""
    stack.apply_objects(namespace, task("victim", intervalSeconds=SECONDS, task={"counter": {}}))
    owner = stack.ours(namespace, "scheduledtasks", "victim")
    anchor = datetime.fromisoformat(owner["metadata"]["creationTimestamp"])
    slots = [anchor + timedelta(seconds=SECONDS * number) for number in range(4, SLOTS)]
    stack.apply_objects(neighbour, *(forged(neighbour, owner, slot) for slot in slots))
    theirs = {rfc3339(slot) for slot in slots[3:]}

    def recorded() -> bool:
        found = {rfc3339(row["slot"]) for row in stack.rows(namespace, "victim", "succeeded")}
        return len(theirs & found) >= 3

    until(recorded, 90, "slots that were forged have run", 0.5)
    assert stack.rows(neighbour) == []
