"""``carillon convert cronjob``: reads CronJobs, converts each, checks the task, compares the times. Prints nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from carillon_cli.checked import check
from carillon_cli.conversion.comparison import Comparison, compare
from carillon_cli.conversion.mapping import Mapped, task_of_cronjob
from carillon_cli.documents import Document, InputError, only_ours, read_documents
from carillon_cli.kubectl import Cluster
from carillon_cli.yaml_text import yaml_text
from carillon_core.domain.timetable.zones import UnknownZoneError, time_zone
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.names import KIND
from carillon_core.resources.scheduled_task import parse_spec

CRONJOB = "CronJob"
SHOWN = 10
"""How many unexplained differences of one CronJob are told."""
_PATHS = {"spec.task.job.template": "spec.jobTemplate", "spec.task": "spec.jobTemplate"}
"""The fields of a task, and where a CronJob has them."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """One CronJob, converted or not."""

    document: Document
    mapped: Mapped
    problems: tuple[FieldProblem, ...]
    """Why it is not converted."""
    comparison: Comparison | None = None

    @property
    def converted(self) -> bool:
        """Whether there is a task, and it runs when the CronJob does."""
        return self.comparison is not None and not self.comparison.unexplained

    def lines(self) -> list[str]:
        """Return what the user is told."""
        name = self.document.name
        said = [f"{name}: {note}" for note in self.mapped.remarks.notes]
        if self.comparison is None:
            return [*said, *(f"{name} ({self.document.place}): not converted: {each}" for each in self.problems)]
        unexplained = self.comparison.unexplained
        said += [
            f"{name}: {each}"
            for each in (*self.comparison.at_changes, *self.comparison.uncertain, *unexplained[:SHOWN])
        ]
        said.append(f"{name}: {self.comparison.summary()}")
        if unexplained:
            said.append(f"{name} ({self.document.place}): not converted: its times differ; please report this as a bug")
        return said


@dataclass(slots=True)
class Converted:
    """The result of a command."""

    conversions: Sequence[Conversion]
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The tasks, as YAML for ``kubectl apply``."""
        return yaml_text([each.mapped.task for each in self.conversions if each.converted])

    @property
    def complete(self) -> bool:
        """Whether every CronJob was converted."""
        return all(each.converted for each in self.conversions)

    def lines(self) -> list[str]:
        """Return what the user is told."""
        return [*self.notes, *(line for each in self.conversions for line in each.lines())]


def of_file(source: str, zone: str | None, start: datetime) -> Converted:
    """Convert the CronJobs of a file.

    Args:
        source: The file, or ``-``.
        zone: The zone of kube-controller-manager; None if the user does not say.
        start: The first of the days whose times are compared.

    Raises:
        InputError: The file cannot be used, or has no CronJob, or the zone does not exist.

    """
    documents = read_documents(source)
    found = only_ours(documents, (CRONJOB,), source)
    others = [d for d in documents if d.kind != CRONJOB]
    skipped = [f"{d.kind} {d.name} ({d.place}) skipped: only CronJobs are converted" for d in others]
    return _converted(found, skipped, zone, start)


def of_namespace(cluster: Cluster, namespace: str, zone: str | None, start: datetime) -> Converted:
    """Convert the CronJobs of a namespace; see ``of_file``.

    Raises:
        InputError: kubectl fails, or the namespace has no CronJob, or the zone does not exist.

    """
    raw = cluster.kubectl("get", "cronjobs.batch", f"--namespace={namespace}", "--output=json")
    items = json.loads(raw).get("items") or []
    if not items:
        raise InputError(f"namespace {namespace} has no CronJob: name a namespace that has one, or a file")
    found = [Document(f"item {number}", CRONJOB, item) for number, item in enumerate(items, 1)]
    return _converted(found, [], zone, start)


def _converted(documents: Sequence[Document], notes: list[str], zone: str | None, start: datetime) -> Converted:
    if zone is not None:
        try:
            time_zone(zone)
        except UnknownZoneError as error:
            raise InputError(f"--time-zone: {error}") from error
    made = Converted([convert(document, zone or "UTC", start) for document in documents], notes)
    assumed = sum(each.mapped.zone_assumed for each in made.conversions)
    if assumed and zone is None:
        who = "a CronJob has no spec.timeZone" if assumed == 1 else f"{assumed} CronJobs have no spec.timeZone"
        said = f"{who}, so the time zone of kube-controller-manager applies: UTC is assumed"
        made.notes.append(f"{said}, set --time-zone if it is another")
    return made


def convert(document: Document, zone: str, start: datetime) -> Conversion:
    """Convert one CronJob.

    Args:
        document: The CronJob.
        zone: The zone of kube-controller-manager.
        start: The first of the days whose times are compared.

    """
    mapped = task_of_cronjob(document.raw, zone)
    problems = [*mapped.remarks.problems]
    if not mapped.task:
        return Conversion(document, mapped, tuple(problems))
    try:
        check(Document(document.place, KIND, mapped.task), start)
    except InvalidResourceError as error:
        known = {problem.path for problem in problems}
        # a field that was refused is missing in the task
        found = [_of_cronjob(problem) for problem in error.problems]
        problems += [each for each in found if each.path not in known and not (known and each.path == "spec")]
    if problems or mapped.timing is None:
        return Conversion(document, mapped, tuple(problems))
    spec = parse_spec(mapped.task["spec"], strict=True)
    return Conversion(document, mapped, (), compare(mapped.timing, spec, start))


def _of_cronjob(problem: FieldProblem) -> FieldProblem:
    """Return a problem of the task as one of the CronJob's field."""
    for task, cronjob in _PATHS.items():
        if problem.path.startswith(task):
            return FieldProblem(cronjob + problem.path.removeprefix(task), problem.message)
    return problem
