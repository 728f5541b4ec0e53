"""What is wrong with a spec that neither schema nor CEL can see: in the same words wherever it is said. Pure.

The REST facade, the admission webhook and the CLI refuse by these functions.
"""

from datetime import datetime

from carillon_core.domain.timetable.schedule import schedule_problems
from carillon_core.domain.validity.pod_validity import pod_problems, runner_problems, task_pod_problems
from carillon_core.domain.validity.template_syntax import template_problems
from carillon_core.errors import FieldProblem
from carillon_core.resources.http_target import HTTPTargetSpec
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec
from carillon_core.resources.scheduled_task import ScheduledTaskSpec
from carillon_core.resources.tasks import Task


def spec_problems(
    spec: ScheduledTaskSpec,
    now: datetime,
    stored: ScheduledTaskSpec | None = None,
    pod_defaults: PodSettings | None = None,
) -> tuple[FieldProblem, ...]:
    """Return what is wrong with a ScheduledTask's spec: its schedule, its bounds, its templates, its pods.

    Args:
        spec: The spec that is to be stored, which its schema allows.
        now: This instant, from which the slots of a new calendar count.
        stored: The spec that it replaces, if that can be read: a calendar that has ended may stay as it was, and so
            may pods that the operator's default does not suit any more, or nobody could suspend their task.
        pod_defaults: The operator's, if they are known here.

    """
    new = stored is None or stored.calendar != spec.calendar
    problems = schedule_problems(spec, now if new else None)
    unchanged = stored is not None and (stored.pod, stored.task) == (spec.pod, spec.task)
    pods = () if unchanged else pod_problems(spec, pod_defaults)
    return (*problems, *task_problems(spec.task, "spec.task"), *pods)


def task_problems(task: Task, path: str) -> tuple[FieldProblem, ...]:
    """Return what is wrong with the templates of a task."""
    if task.http is None:
        return ()
    http, path = task.http, f"{path}.http"
    return (
        *template_problems(http.url, f"{path}.url"),
        *(p for name, value in http.headers.items() for p in template_problems(value, f"{path}.headers.{name}")),
        *template_problems(http.body, f"{path}.body"),
    )


def target_problems(spec: HTTPTargetSpec) -> tuple[FieldProblem, ...]:
    """Return what is wrong with the templates of an HTTPTarget."""
    return (
        *template_problems(spec.url, "spec.url"),
        *(p for k, h in enumerate(spec.headers) for p in template_problems(h.value, f"spec.headers[{k}].value")),
        *template_problems(spec.body, "spec.body"),
    )


def request_problems(spec: RunRequestSpec, pod_defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return what is wrong with a RunRequest's own task, and with the pods that it asks for."""
    if spec.task is None:
        # what kind of pod that will be, the task that is named says: the operator knows it when it is to run
        return () if spec.pod is None else runner_problems(spec.pod)
    pods = task_pod_problems(spec.task, spec.pod or PodSettings(), pod_defaults)
    return (*task_problems(spec.task, "spec.task"), *pods)
