"""How the objects of a scheduler are read: what it watches, and the task and slot of each of its Jobs. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from carillon_core.domain.execution import job_name
from carillon_core.resources import names

SLOT_OF_CRONJOB = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""The annotation with which the CronJob controller notes a Job's slot."""


class Launched(NamedTuple):
    """What the metadata of a Job says of it."""

    task: str
    task_uid: str
    slot: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """The objects of one scheduler."""

    tasks: str
    """The resource in which users describe their tasks, as ``calls.resource_of`` names it."""
    watched: Mapping[str, str]
    """The collections that it lists and watches, by resource."""
    selector: str
    """Selects its Jobs and their pods; empty for all."""
    launched: Callable[[Mapping[str, Any]], Launched | None]
    """Returns what a Job's metadata say of it; None for a Job of somebody else."""
    job_name: Callable[[str, datetime], str]
    """Returns the name of a slot's Job."""
    slot_annotation: str
    step: timedelta
    """The least distance of two slots."""


def _by_labels(meta: Mapping[str, Any]) -> Launched | None:
    labels, slot = meta.get("labels") or {}, (meta.get("annotations") or {}).get(names.ANNOTATION_SLOT)
    if slot is None or names.LABEL_TASK not in labels:
        return None
    return Launched(labels[names.LABEL_TASK], labels[names.LABEL_TASK_UID], datetime.fromisoformat(slot))


def _by_owner(meta: Mapping[str, Any]) -> Launched | None:
    slot = (meta.get("annotations") or {}).get(SLOT_OF_CRONJOB)
    owner = next((o for o in meta.get("ownerReferences") or () if o["kind"] == "CronJob" and o.get("controller")), None)
    if slot is None or owner is None:
        return None
    return Launched(owner["name"], owner["uid"], datetime.fromisoformat(slot).astimezone(UTC))


def cronjob_job_name(cronjob: str, slot: datetime) -> str:
    """Return the name that the CronJob controller gives to the Job of a slot: it counts minutes."""
    return f"{cronjob}-{int(slot.timestamp()) // 60}"


CARILLON = Dialect(
    tasks="tasks",
    watched={
        "tasks": f"/apis/{names.API_VERSION}/{names.PLURAL}",
        "jobs": "/apis/batch/v1/jobs",
        "pods": "/api/v1/pods",
    },
    selector=f"labelSelector={names.LABEL_MANAGED_BY}%3D{names.MANAGED_BY}",
    launched=_by_labels,
    job_name=job_name,
    slot_annotation=names.ANNOTATION_SLOT,
    step=timedelta(seconds=1),
)
CRONJOBS = Dialect(
    tasks="cronjobs",
    watched={"cronjobs": "/apis/batch/v1/cronjobs", "jobs": "/apis/batch/v1/jobs"},
    selector="",
    launched=_by_owner,
    job_name=cronjob_job_name,
    slot_annotation=SLOT_OF_CRONJOB,
    step=timedelta(minutes=1),
)
