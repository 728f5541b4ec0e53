"""The problems of specs that neither the schema nor CEL rules detect. Pure.

The REST facade, the admission webhook and the CLI call these functions, so their messages are the same.
"""

from datetime import datetime

from carillon_core.domain.timetable.schedule import schedule_problems
from carillon_core.domain.validity.job_templates import own_secret_hint
from carillon_core.domain.validity.pod_validity import pod_problems, retry_problems, runner_problems, task_pod_problems
from carillon_core.domain.validity.template_syntax import Templates, template_problems
from carillon_core.domain.validity.urls import url_problems
from carillon_core.errors import FieldProblem
from carillon_core.json_values import text_problems
from carillon_core.resources.http_target import HTTPTargetSpec, secret_uses
from carillon_core.resources.names import RUNNER_SECRET
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec, long_past_problem
from carillon_core.resources.scheduled_task import ScheduledTaskSpec
from carillon_core.resources.tasks import HTTPTask, Task


def spec_problems(
    spec: ScheduledTaskSpec,
    now: datetime,
    stored: ScheduledTaskSpec | None = None,
    pod_defaults: PodSettings | None = None,
) -> tuple[FieldProblem, ...]:
    """Return the problems of a ScheduledTask's spec: its schedule, its bounds, its task, its pods.

    Args:
        spec: The spec to store; it satisfies the schema.
        now: The current time, from which the slots of a new calendar count.
        stored: The spec that it replaces, if that can be read. A calendar that has ended may stay unchanged, and so
            may pods that no longer fit the operator's defaults, so that their task can still be suspended.
        pod_defaults: The operator's pod settings, if they are known here.

    """
    new = stored is None or stored.calendar != spec.calendar
    problems = schedule_problems(spec, now if new else None)
    unchanged = stored is not None and (stored.pod, stored.task) == (spec.pod, spec.task)
    pods = () if unchanged else pod_problems(spec, pod_defaults)
    return (*problems, *task_problems(spec.task, "spec.task"), *pods)


def task_problems(task: Task, path: str) -> tuple[FieldProblem, ...]:
    """Return the problems of the texts of a task, and of the URL and the templates of an HTTP task."""
    texts = tuple(text_problems(task.model_dump(exclude_unset=True), path))
    if task.http is None:
        return texts
    templates = template_problems(templates_of(task.http, f"{path}.http"))
    return (*texts, *url_problems(task.http.url, f"{path}.http.url"), *templates)


def templates_of(http: HTTPTask, path: str) -> Templates:
    """Return the texts of an HTTP task that may be templates, by their paths."""
    headers = ((f"{path}.headers.{name}", value) for name, value in http.headers.items())
    return [(f"{path}.url", http.url), *headers, (f"{path}.body", http.body)]


def target_problems(spec: HTTPTargetSpec) -> tuple[FieldProblem, ...]:
    """Return the problems of an HTTPTarget: its texts, its URL, its templates, its Secrets."""
    headers = ((f"spec.headers[{k}].value", header.value) for k, header in enumerate(spec.headers))
    templates = template_problems([("spec.url", spec.url), *headers, ("spec.body", spec.body)])
    texts = text_problems(spec.model_dump(exclude_unset=True), "spec")
    return (*texts, *url_problems(spec.url, "spec.url"), *templates, *own_secret_problems(spec))


def own_secret_problems(spec: HTTPTargetSpec, own: str = RUNNER_SECRET) -> tuple[FieldProblem, ...]:
    """Return a problem for each reference to the Secret that the operator keeps for its runners."""
    hint = own_secret_hint(own)
    return tuple(FieldProblem(f"{use.path}.name", hint) for use in secret_uses(spec) if use.ref.name == own)


def request_problems(
    spec: RunRequestSpec, created_at: datetime, pod_defaults: PodSettings | None = None
) -> tuple[FieldProblem, ...]:
    """Return the problems of a RunRequest's time, of its parameters, of its own task and of its pod settings.

    Args:
        spec: The spec; it satisfies the schema.
        created_at: When the request was created; the current time for a new one.
        pod_defaults: The operator's pod settings, if they are known here.

    """
    past = long_past_problem(spec.run_at, created_at)
    problems = (*(() if past is None else (past,)), *text_problems(spec.parameters, "spec.parameters"))
    if spec.task is None:
        # whether the task runs in a runner or a container is known only when it is launched
        return problems if spec.pod is None else (*problems, *runner_problems(spec.pod))
    pods = (
        *retry_problems(spec.task, spec.retry),
        *task_pod_problems(spec.task, spec.pod or PodSettings(), pod_defaults),
    )
    return (*problems, *task_problems(spec.task, "spec.task"), *pods)
