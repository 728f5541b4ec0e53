"""``carillon explain``: what the operator would do about each object of a file, and why. Returns lines.

The plan is that of ``decide``, the operator's own function: no cluster is asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from textwrap import wrap

from carillon_cli.checked import check, is_stored, request_of, task_of
from carillon_cli.documents import OUR_KINDS, Document, only_ours, read_documents
from carillon_cli.next_times import Answer
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Plan, RecordUnlaunched
from carillon_core.domain.execution import job_name
from carillon_core.domain.observed.job_reading import newest_attempts, observed_job
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget, ObservedTask
from carillon_core.domain.timetable.schedule import schedule_description
from carillon_core.domain.timetable.words import schedule_in_words
from carillon_core.domain.validity.advice import advice_of, shown_time, task_advice, url_advice
from carillon_core.errors import InvalidResourceError
from carillon_core.resources.base import rfc3339
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec
from carillon_core.resources.names import KIND, KIND_REQUEST, KIND_TARGET
from carillon_core.resources.run_request import RunRequestSpec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec

WIDTH = 116
LABEL_WIDTH = 12


def of_file(source: str, at: datetime) -> Answer:
    """Explain every object of ours in a file.

    Raises:
        InputError: The file cannot be read or has no object of ours.

    """
    documents = read_documents(source)
    jobs = _jobs(documents)
    answer = Answer()
    for document in only_ours(documents, OUR_KINDS, source):
        if answer.lines:
            answer.lines.append("")
        answer.lines.append(f"{document.kind} {document.name} ({document.place})")
        try:
            answer.lines += _explained(document, documents, jobs, at)
        except InvalidResourceError as error:
            answer.invalid = True
            answer.lines += [line for p in error.problems for line in _row("invalid", str(p))]
            answer.lines += _row("plan", "none: correct the fields above first")
    return answer


def _jobs(documents: Sequence[Document]) -> list[ObservedJob]:
    """Return the Jobs of executions among the documents."""
    found = (observed_job(d.raw) for d in documents if d.kind == "Job")
    return newest_attempts(job for job in found if job is not None)


def _target(task: ObservedTask, documents: Sequence[Document]) -> tuple[ObservedTarget | None, list[str]]:
    """Return the HTTPTarget that a task names from the file, and a row if it is not in the file."""
    if task.target_name is None:
        return None, []
    wanted = f"{task.meta.namespace}/{task.target_name}"
    for document in documents:
        if document.kind == KIND_TARGET and document.name == wanted:
            return ObservedTarget.from_object(document.raw), []
    taken = ObservedTarget(task.target_name, HTTPTargetSpec(url="https://example.com/"))
    return taken, _row("target", f"HTTPTarget {wanted} is not in the file and assumed to exist")


def _explained(
    document: Document, documents: Sequence[Document], jobs: Sequence[ObservedJob], at: datetime
) -> list[str]:
    if document.kind == KIND_REQUEST:
        return _request(request_of(document, at), at)
    if document.kind != KIND:
        check(document, at)
        url = parse_target_spec(document.raw.get("spec"), strict=True).url
        return [*_row("valid", "yes; HTTP tasks refer to it by targetRef"), *_advice(url_advice(url, "spec.url", None))]
    task = task_of(document, at)
    if task.spec is None:
        raise InvalidResourceError(task.problems)
    own = [job for job in jobs if job.task_uid == task.meta.uid]
    target, about_target = _target(task, documents)
    plan = decide(replace(task, target=target), own, at)
    return [
        *_row("schedule", schedule_description(task.spec)),
        *_row("in words", schedule_in_words(task.spec, task.spec.jitter_seconds)),
        *_row("as of", _as_of(task, own, at, stored=is_stored(document))),
        *about_target,
        *(_plan_rows(task, plan)),
        *_state(plan),
        *_next(task.spec, plan),
        *_advice(advice_of(task.spec, task.created_at, at)),
    ]


def _advice(sentences: Iterable[str]) -> list[str]:
    return [line for sentence in sentences for line in _row("advice", sentence)]


def _request(spec: RunRequestSpec, at: datetime) -> list[str]:
    own = f"a {spec.task.type} task of its own" if spec.task else "nothing"
    what = f"the task {spec.task_ref.name}" if spec.task_ref else own
    when = "immediately" if spec.run_at is None or spec.run_at <= at else f"at {rfc3339(spec.run_at)}"
    return [
        *_row("plan", f"run {what} {when}, once; the operator then decides whether it may run"),
        *(_advice(task_advice(spec.task, None)) if spec.task else ()),
    ]


def _as_of(task: ObservedTask, jobs: Sequence[ObservedJob], at: datetime, *, stored: bool) -> str:
    if not stored:
        return f"{rfc3339(at)}, as if created then: the file has no creationTimestamp"
    active = [job.name for job in jobs if job.active]
    seen = f"{len(jobs)} of its Jobs in the file" if jobs else "none of its Jobs in the file"
    running = f", active: {', '.join(active)}" if active else ""
    return f"{rfc3339(at)}, created {rfc3339(task.created_at)}, {seen}{running}"


def _plan_rows(task: ObservedTask, plan: Plan) -> list[str]:
    if not plan.actions:
        return _row("plan", "launch nothing now, record nothing")
    return [line for action in plan.actions for line in _row("plan", _action(task, action))]


def _action(task: ObservedTask, action: object) -> str:
    if isinstance(action, Launch):
        return f"launch the slot of {rfc3339(action.slot)} as Job {job_name(task.meta.name, action.slot)}"
    if isinstance(action, RecordUnlaunched):
        return f"record as {action.status}, {action.reason}: {action.message}"
    if isinstance(action, EndExecution):
        return f"end {action.job_name} as {action.status}, {action.reason}: {action.message}"
    if isinstance(action, DeleteJob):
        return f"delete {action.job_name}, beyond the history limits"
    return str(action)  # an action without a description here


def _state(plan: Plan) -> list[str]:
    """Return the conditions that the task would have."""
    rows = []
    for condition in plan.status.conditions:
        if condition.type == "Ready" or condition.status == "True":
            message = f": {condition.message}" if condition.message else ""
            rows += _row("status", f"{condition.type}={condition.status}, {condition.reason}{message}")
    if (owed := plan.status.backlog) is not None:
        spans = [f"after {rfc3339(each.after)}, until {rfc3339(each.until)}" for each in owed.stretches]
        rows += _row(
            "owed", f"the missed slots {', and '.join(spans)}: launched one at a time when the task is not active"
        )
    return rows


def _next(spec: ScheduledTaskSpec, plan: Plan) -> list[str]:
    upcoming = plan.status.next_schedule_time
    if upcoming is None:
        return _row("next slot", "none")
    rows = _row("next slot", shown_time(upcoming, spec.time_zone or "UTC"))
    if plan.requeue_at is not None and plan.requeue_at != upcoming:
        rows += _row("next look", f"{rfc3339(plan.requeue_at)}, when the operator decides again")
    return rows


def _row(label: str, text: str) -> list[str]:
    """Return a label and its text, which goes on under itself."""
    lines = wrap(text, WIDTH - LABEL_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"  {label if k == 0 else '':<{LABEL_WIDTH}}{line}" for k, line in enumerate(lines)]
