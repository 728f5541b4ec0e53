"""Turns a CronJob into a ScheduledTask with a ``job``. Pure; ``cronjobs`` calls it.

Nothing is dropped silently: each field has an equivalent, or a note, or is a problem.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from carillon_cli.conversion import robfig
from carillon_cli.conversion.templates import Remarks, template_of
from carillon_core.domain.timetable.schedule import InvalidScheduleError, cron_schedule
from carillon_core.resources.base import Time, rfc3339
from carillon_core.resources.names import API_VERSION, KIND
from carillon_core.resources.scheduled_task import YEAR_SECONDS

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CRONJOB_API_VERSION = "batch/v1"
MOST_JOBS_KEPT = 100
MINUTE = 60
KEPT = ("name", "namespace", "labels", "annotations")
SERVERS = {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"}
"""The metadata that a cluster sets for each object anew."""
KNOWN = {
    "schedule",
    "timeZone",
    "startingDeadlineSeconds",
    "concurrencyPolicy",
    "suspend",
    "jobTemplate",
    "successfulJobsHistoryLimit",
    "failedJobsHistoryLimit",
}
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class Timing:
    """When the CronJob fires, as its controller reads it."""

    schedule: robfig.CronTimes | robfig.Every
    zone: str
    anchor: datetime | None = None
    """What an interval counts from, if that is known."""


@dataclass(slots=True)
class Mapped:
    """The task of a CronJob, and what the user is told."""

    task: dict[str, Any]
    """Empty without a spec."""
    timing: Timing | None = None
    """None if the controller cannot read the schedule."""
    deadline: Any = None
    """The CronJob's startingDeadlineSeconds."""
    zone_assumed: bool = False
    """The CronJob names no time zone, and its schedule needs one."""
    remarks: Remarks = field(default_factory=Remarks)


def task_of_cronjob(raw: Mapping[str, Any], default_zone: str) -> Mapped:
    """Return the task of a CronJob.

    Args:
        raw: The CronJob, from a file or a cluster.
        default_zone: The time zone of kube-controller-manager, which applies without ``timeZone``.

    """
    remarks = Remarks()
    if raw.get("apiVersion") != CRONJOB_API_VERSION:
        remarks.refuse("apiVersion", f"must be {CRONJOB_API_VERSION} (got {raw.get('apiVersion')!r})")
    given = raw.get("spec")
    if not isinstance(given, Mapping):
        remarks.refuse("spec", "must be an object: write the fields of a CronJob under it")
        return Mapped({}, remarks=remarks)
    metadata = _metadata(raw["metadata"], remarks)
    given = {name: value for name, value in given.items() if value is not None}
    for name in given.keys() - KNOWN:
        remarks.refuse(f"spec.{name}", "is not a field of a CronJob: remove it or correct its spelling")
    mapped = Mapped({}, remarks=remarks, deadline=given.get("startingDeadlineSeconds"))
    spec = _calendar(given, _anchor(raw), default_zone, mapped)
    spec |= _policies(given, remarks)
    template = given.get("jobTemplate")
    if isinstance(template, Mapping):
        made = template_of(template, remarks)
        ttl = _at_most(made.ttl_seconds_after_finished, YEAR_SECONDS, _TTL_PATH, remarks)
        moved = {"ttlSecondsAfterFinished": ttl, "queueName": made.queue_name}
        spec |= {name: value for name, value in moved.items() if value is not None}
        spec["task"] = {"job": {"template": made.template}}
    else:
        remarks.refuse("spec.jobTemplate", "is required: add it, with the spec of a Job")
    mapped.task = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
    return mapped


_TTL_PATH = "spec.jobTemplate.spec.ttlSecondsAfterFinished"


def _metadata(given: Mapping[str, Any], remarks: Remarks) -> dict[str, Any]:
    for name in given.keys() - SERVERS - set(KEPT):
        if given[name] not in (None, [], {}):
            remarks.note(f"metadata.{name}", "is left out: set it on the ScheduledTask if it is needed")
    kept = {name: given[name] for name in KEPT if given.get(name)}
    if isinstance(annotations := kept.get("annotations"), Mapping):
        kept["annotations"] = {name: value for name, value in annotations.items() if name != APPLIED}
        if not kept["annotations"]:
            del kept["annotations"]
    return kept


def _policies(given: Mapping[str, Any], remarks: Remarks) -> dict[str, Any]:
    """Return what the task does with its slots and its Jobs."""
    spec: dict[str, Any] = {}
    if "suspend" in given:
        spec["suspend"] = given["suspend"]
    spec["concurrencyPolicy"] = given.get("concurrencyPolicy", "Allow")
    spec["missedRunPolicy"] = "Latest"
    limits = {
        "startingDeadlineSeconds": YEAR_SECONDS,
        "successfulJobsHistoryLimit": MOST_JOBS_KEPT,
        "failedJobsHistoryLimit": MOST_JOBS_KEPT,
    }
    for name, most in limits.items():
        if name in given:
            spec[name] = _at_most(given[name], most, f"spec.{name}", remarks)
    if spec.get("startingDeadlineSeconds") == 0:
        said = "is 0, with which a CronJob never runs: set at least 1, or remove it"
        remarks.refuse("spec.startingDeadlineSeconds", said)
        del spec["startingDeadlineSeconds"]
    return spec


def _at_most(value: Any, most: int, path: str, remarks: Remarks) -> Any:
    if isinstance(value, int) and value > most:
        remarks.note(path, f"becomes {most}, the maximum (got {value})")
        return most
    return value


def _calendar(given: Mapping[str, Any], anchor: datetime | None, default_zone: str, mapped: Mapped) -> dict[str, Any]:
    """Return the task's schedule and its zone, or its interval; note the CronJob's timing."""
    schedule, zone = given.get("schedule"), given.get("timeZone")
    refuse, note = mapped.remarks.refuse, mapped.remarks.note
    if not isinstance(schedule, str) or not isinstance(zone, str | None):
        field = "schedule" if not isinstance(schedule, str) else "timeZone"
        refuse(f"spec.{field}", "must be a text: write it in quotes" if field in given else "is required: add it")
        return {}
    prefix, expression = robfig.split_zone(schedule)
    if prefix is not None and zone is not None:
        refuse("spec.timeZone", f"is not valid with the time zone in spec.schedule, {prefix}: remove one of them")
    try:
        times = robfig.parse(expression)
    except robfig.NotACronJobScheduleError as error:
        refuse("spec.schedule", f"cannot be read by a CronJob's controller: {error}")
        return {}
    named = prefix or zone
    mapped.timing = Timing(times, named or default_zone, anchor)
    if isinstance(times, robfig.Every):
        if named:
            note("spec.schedule" if prefix else "spec.timeZone", "names a time zone, which an interval does not have")
        return _interval(expression, times, anchor, mapped)
    if prefix is not None:
        note("spec.schedule", f"begins with a time zone, which becomes spec.timeZone: {prefix}")
    mapped.zone_assumed = named is None
    written = named or (default_zone if default_zone != "UTC" else None)
    said = _written(expression, times, written or "UTC", mapped.remarks)
    return {"schedule": said, **({"timeZone": written} if written else {})}


def _written(expression: str, times: robfig.CronTimes, zone: str, remarks: Remarks) -> str:
    """Return an expression as Carillon takes it; spec_problems tells of one that it cannot take in any form."""
    try:
        cron_schedule(expression, zone)
    except InvalidScheduleError:
        plain = times.text()
        try:
            cron_schedule(plain, zone)
        except InvalidScheduleError:
            return expression
        remarks.note("spec.schedule", f"{expression!r} is written as {plain!r}, which has the same times")
        return plain
    return expression


def _interval(expression: str, every: robfig.Every, anchor: datetime | None, mapped: Mapped) -> dict[str, Any]:
    """Return the interval of ``@every``, with its start if that is known."""
    path, becomes = "spec.schedule", f"{expression!r} becomes intervalSeconds: {every.seconds}"
    if every.seconds > YEAR_SECONDS:
        mapped.remarks.refuse(path, f"{expression!r} is longer than 366 days: use a cron expression")
        return {}
    for reason in _never_so_often(every, mapped.deadline):
        mapped.remarks.note(path, reason)
    if anchor is None:
        said = (
            "which counts from the creation of the ScheduledTask, not of the CronJob; set startAt to choose the times"
        )
        mapped.remarks.note(path, f"{becomes}, {said}")
        return {"intervalSeconds": every.seconds}
    mapped.remarks.note(path, f"{becomes}, with the startAt that keeps the CronJob's times")
    return {"intervalSeconds": every.seconds, "startAt": rfc3339(anchor + timedelta(seconds=every.seconds))}


def _never_so_often(every: robfig.Every, deadline: Any) -> Iterator[str]:
    """Yield why a CronJob does not run at every interval; both were seen with the controller of Kubernetes 1.36."""
    if isinstance(deadline, int) and deadline < every.seconds:
        # it counts the interval anew from the earliest time that the deadline allows
        yield f"a CronJob whose startingDeadlineSeconds ({deadline}) is below its interval never runs; the task does"
    if every.seconds < MINUTE:
        yield "a CronJob runs at most once a minute, as its Jobs are named after the minute; the task runs more often"


def _anchor(raw: Mapping[str, Any]) -> datetime | None:
    """Return what an interval counts from: the last run, or the creation."""
    status = raw.get("status")
    last = status.get("lastScheduleTime") if isinstance(status, Mapping) else None
    for text in (last, raw["metadata"].get("creationTimestamp")):
        if text is not None:
            try:
                return _TIME.validate_python(text)
            except ValidationError:
                continue
    return None
