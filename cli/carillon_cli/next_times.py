"""``carillon next``: when an expression, or the tasks of a file, fire next. Returns lines; prints nothing."""

from dataclasses import dataclass, field
from datetime import datetime

from carillon_cli.checked import is_stored, request_of, task_of
from carillon_cli.documents import Document, InputError, only_ours, read_documents
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.timetable.schedule import fire_times, schedule_of
from carillon_core.domain.validity.advice import advice_of, shown_time
from carillon_core.domain.validity.future import future_problem
from carillon_core.domain.validity.problems import spec_problems
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.names import KIND, KIND_REQUEST
from carillon_core.resources.scheduled_task import ScheduledTaskSpec, parse_spec


@dataclass(slots=True)
class Answer:
    """The lines for standard output and for standard error, and whether something was invalid."""

    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    invalid: bool = False


def of_expression(expression: str, zone: str | None, after: datetime, count: int) -> Answer:
    """Return the next times of a cron expression.

    Raises:
        InputError: The expression or the zone is invalid.

    """
    raw: dict[str, object] = {"schedule": expression, "timeZone": zone, "task": {"counter": {}}}
    try:
        spec = parse_spec(raw, strict=True)
        problems = spec_problems(spec, after)
    except InvalidResourceError as error:
        problems = error.problems
    if problems:
        raise InputError("; ".join(_spoken(p.path, p.message) for p in problems))
    return Answer(_times(spec, after, after, count), advice_of(spec, after, after))


def _spoken(path: str, message: str) -> str:
    """Return a problem without a path: an expression has no file."""
    return message if message.startswith("'") else f"{path.removeprefix('spec.')} {message}"


def of_file(source: str, after: datetime, count: int) -> Answer:
    """Return the next times of every ScheduledTask and RunRequest of a file, each under ``# namespace/name``.

    Raises:
        InputError: The file cannot be read or has none of them.

    """
    answer = Answer()
    for document in only_ours(read_documents(source), (KIND, KIND_REQUEST), source):
        try:
            lines, notes = _of_document(document, after, count)
        except InvalidResourceError as error:
            answer.invalid = True
            answer.notes += [f"{document.place}, {document.name}: {problem}" for problem in error.problems]
            continue
        answer.lines += [f"# {document.name}", *lines]
        answer.notes += [f"{document.name}: {note}" for note in notes]
    return answer


def _of_document(document: Document, after: datetime, count: int) -> tuple[list[str], list[str]]:
    if document.kind == KIND_REQUEST:
        run_at = request_of(document, after).run_at
        if run_at is None:
            return [], ["runs immediately when it is created"]
        past = future_problem(run_at, after)
        return ([shown_time(run_at, "UTC")], []) if past is None else ([], [str(past)])
    task = task_of(document, after)
    spec = task.spec
    if spec is None:
        raise InvalidResourceError(task.problems)
    return _times(spec, task.created_at, after, count), _notes(task, spec, after, stored=is_stored(document))


def _notes(task: ObservedTask, spec: ScheduledTaskSpec, after: datetime, *, stored: bool) -> list[str]:
    notes = advice_of(spec, task.created_at, after)
    if spec.suspend:
        notes.append("is suspended: it would run at these times with spec.suspend: false")
    if spec.interval_seconds is not None and spec.start_at is None and not stored:
        notes.append("counts its interval from its creation; shown as if created at the start time")
    return notes


def _times(spec: ScheduledTaskSpec, created_at: datetime, after: datetime, count: int) -> list[str]:
    slots = fire_times(schedule_of(spec, created_at), after, count)
    return [shown_time(slot, spec.time_zone or "UTC") for slot in slots]
