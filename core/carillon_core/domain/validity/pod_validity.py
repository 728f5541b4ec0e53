"""Checks the resources of a task's pods, with the operator's and the runner's defaults applied. Pure.

``validity`` calls it before a task is stored, ``decide`` before a slot is
launched, and the operator's settings for the defaults. The rules are those of
the API server's pod validation (kubernetes, ``pkg/apis/core/validation``): a
request is at most its limit; a resource that cannot be overcommitted is a whole
number and has an equal request and limit.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from carillon_core.domain.pod_settings import RUNNER_RESOURCES
from carillon_core.domain.validity.job_templates import job_problems, pod_secret_problems
from carillon_core.errors import FieldProblem
from carillon_core.resources.containers import ContainerResources
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import ScheduledTaskSpec
from carillon_core.resources.tasks import RetryPolicy, Task

POD_DEFAULTS = "CARILLON_POD_DEFAULTS"
OVERCOMMITTED = frozenset({"cpu", "memory", "ephemeral-storage"})
"""The resources whose limit may exceed the request."""

_QUANTITY = re.compile(r"\+?([0-9.]+)(?:([KMGTPE])i|([numkMGTPE])|[eE]([-+]?[0-9]+))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@dataclass(frozen=True, slots=True)
class _Layer:
    """The resources in one place: the task's own, the operator's defaults or the runner's."""

    resources: ContainerResources
    path: str
    """The field, such as ``spec.pod.resources``; empty for defaults."""
    whose: str
    """The place as a phrase that follows a quantity."""


_RUNNER = _Layer(RUNNER_RESOURCES, "", "that runners have by default")


def amount(quantity: str) -> Fraction:
    """Return a quantity as a number: ``256Mi`` is 268435456, ``500m`` is one half.

    Args:
        quantity: Matches the pattern ``QUANTITY``.

    Raises:
        ValueError: It is not a quantity.

    """
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        msg = f"{quantity!r} is not a quantity"
        raise ValueError(msg)
    number, binary, decimal, exponent = found.groups()
    if binary:
        return Fraction(number) * Fraction(1024) ** ("KMGTPE".index(binary) + 1)
    return Fraction(number) * Fraction(10) ** (_DECIMAL[decimal] if decimal else int(exponent or 0))


def pod_problems(spec: ScheduledTaskSpec, defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return the problems of a task's pods.

    Args:
        spec: The task's spec.
        defaults: The operator's; None if they are not known: then only the task's own fields are checked.

    """
    return (*retry_problems(spec.task, spec.retry), *task_pod_problems(spec.task, spec.pod, defaults))


def retry_problems(task: Task, retry: RetryPolicy | None) -> tuple[FieldProblem, ...]:
    """Return the problem of retries of a task whose Job retries by itself."""
    if task.job is None or retry is None or retry.limit == 0:
        return ()
    mend = "set backoffLimit in spec.task.job.template.spec"
    return (FieldProblem("spec.retry.limit", f"is not valid with a job: {mend}"),)


def task_pod_problems(task: Task, pod: PodSettings, defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return the problems of the pods that run a task: of their resources, or of the template of their Job."""
    if task.job is not None:
        return job_problems(task.job, pod, "spec.task.job")
    if task.container is not None:
        raw = task.container.model_dump(mode="json", include={"env", "env_from", "volumes"})
        own = pod_secret_problems(raw, "spec.task.container")
        return (*own, *_problems([_layer(task.container.resources, "spec.task.container.resources")]))
    return runner_problems(pod, defaults)


def runner_problems(pod: PodSettings, defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return the problems of the resources of a runner's pods."""
    own = _layer(pod.resources, "spec.pod.resources")
    if defaults is None:
        return _problems([own], all_known=False)
    return _problems([own, _Layer(defaults.resources, "", f"in the operator's {POD_DEFAULTS}"), _RUNNER])


def default_problems(defaults: PodSettings) -> tuple[FieldProblem, ...]:
    """Return the problems for which no runner could start with these defaults."""
    return _problems([_layer(defaults.resources, f"{POD_DEFAULTS}.resources"), _RUNNER])


def _layer(resources: ContainerResources, path: str) -> _Layer:
    return _Layer(resources, path, f"in {path}")


def _problems(layers: Sequence[_Layer], *, all_known: bool = True) -> tuple[FieldProblem, ...]:
    """Return the problems of the first layer; the others supply the values that it does not set."""
    own = layers[0].resources
    named = dict.fromkeys((*own.requests, *own.limits))
    return tuple(problem for name in named for problem in _problems_of(name, layers, all_known=all_known))


def _problems_of(name: str, layers: Sequence[_Layer], *, all_known: bool) -> Iterator[FieldProblem]:
    request = _said(name, [(layer, layer.resources.requests) for layer in layers])
    limit = _said(name, [(layer, layer.resources.limits) for layer in layers])
    own = layers[0]
    requested, limited = f"{own.path}.requests.{name}", f"{own.path}.limits.{name}"
    if name not in OVERCOMMITTED:
        for path, said in ((requested, request), (limited, limit)):
            if said is not None and said[1] is own and name.find("/") > 0 and amount(said[0]).denominator != 1:
                yield FieldProblem(path, f"must be a whole number (got {said[0]})")
        if request is not None and limit is None and all_known:
            yield FieldProblem(
                requested, f"must equal the limit (got {request[0]}, no limit): set {limited} to {request[0]}"
            )
    if request is None or limit is None:
        return
    (asked, asks), (most, limits) = request, limit
    if name not in OVERCOMMITTED and amount(asked) != amount(most):
        path, got, other = (
            (requested, asked, f"limit of {most} {limits.whose}")
            if asks is own
            else (limited, most, f"request of {asked} {asks.whose}")
        )
        yield FieldProblem(path, f"must equal the {other} (got {got})")
    elif amount(asked) <= amount(most):
        return
    elif asks is own:
        fix = f"lower it, or {'raise the limit' if limits is own else f'set {limited}'}"
        yield FieldProblem(requested, f"must be at most the limit of {most} {limits.whose} (got {asked}): {fix}")
    else:
        fix = f"raise it, or set {requested}"
        yield FieldProblem(limited, f"must be at least the request of {asked} {asks.whose} (got {most}): {fix}")


def _said(name: str, said: Sequence[tuple[_Layer, Mapping[str, str]]]) -> tuple[str, _Layer] | None:
    return next(((quantities[name], layer) for layer, quantities in said if name in quantities), None)
