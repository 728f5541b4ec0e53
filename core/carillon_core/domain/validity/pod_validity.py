"""Whether the API server would take a pod with the resources that task, operator and runner say together. Pure.

``validity`` asks before a task is stored, ``decide`` before a slot is launched,
the operator's settings for the default alone. The rules are those of a pod's
own validation (kubernetes, ``pkg/apis/core/validation``): a request is not over
its limit, and what cannot be overcommitted is whole and has both, the same.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from carillon_core.domain.pod_settings import RUNNER_RESOURCES
from carillon_core.errors import FieldProblem
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import ScheduledTaskSpec
from carillon_core.resources.tasks import ContainerResources, Task

POD_DEFAULTS = "CARILLON_POD_DEFAULTS"
OVERCOMMITTED = frozenset({"cpu", "memory", "ephemeral-storage"})
"""Of these a limit may be over the request; of all others it may not."""

_QUANTITY = re.compile(r"\+?([0-9.]+)(?:([KMGTPE])i|([numkMGTPE])|[eE]([-+]?[0-9]+))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one says of resources, and who that is."""

    resources: ContainerResources
    path: str
    """Where it stands, such as ``spec.pod.resources``."""
    whose: str
    """The same in a sentence, after a quantity."""


_RUNNER = _Layer(RUNNER_RESOURCES, "", "that every runner has by default")


def amount(quantity: str) -> Fraction:
    """Return the number that a quantity says: ``256Mi`` is 268435456, ``500m`` a half.

    Args:
        quantity: As the pattern ``QUANTITY`` has it.

    Raises:
        ValueError: It is none.

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
    """Return what is wrong with the resources of a task's pods.

    Args:
        spec: The task's spec.
        defaults: The operator's. None where they are not known: then only what the task says by itself is judged.

    """
    return task_pod_problems(spec.task, spec.pod, defaults)


def task_pod_problems(task: Task, pod: PodSettings, defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return what is wrong with the resources of the pods that run a task: a container's own, else the runner's."""
    if task.container is not None:
        return _problems([_layer(task.container.resources, "spec.task.container.resources")])
    return runner_problems(pod, defaults)


def runner_problems(pod: PodSettings, defaults: PodSettings | None = None) -> tuple[FieldProblem, ...]:
    """Return what is wrong with the resources of a runner's pods."""
    own = _layer(pod.resources, "spec.pod.resources")
    if defaults is None:
        return _problems([own], all_known=False)
    return _problems([own, _Layer(defaults.resources, "", f"of the operator's {POD_DEFAULTS}"), _RUNNER])


def default_problems(defaults: PodSettings) -> tuple[FieldProblem, ...]:
    """Return why no runner can start with these defaults."""
    return _problems([_layer(defaults.resources, f"{POD_DEFAULTS}.resources"), _RUNNER])


def _layer(resources: ContainerResources, path: str) -> _Layer:
    return _Layer(resources, path, f"in {path}")


def _problems(layers: Sequence[_Layer], *, all_known: bool = True) -> tuple[FieldProblem, ...]:
    """Return what is wrong in the first layer, where those after it fill in what it does not say."""
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
                yield FieldProblem(path, f"is {said[0]}, which cannot be divided: write a whole number")
        if request is not None and limit is None and all_known:
            yield FieldProblem(requested, f"has no limit, and must have the same: set {limited} to {request[0]}")
    if request is None or limit is None:
        return
    (asked, asks), (most, limits) = request, limit
    if name not in OVERCOMMITTED and amount(asked) != amount(most):
        path, one, other, whose = (requested, asked, most, limits) if asks is own else (limited, most, asked, asks)
        yield FieldProblem(path, f"is {one}, and must be the same as the {other} {whose.whose}: make them equal")
    elif amount(asked) <= amount(most):
        return
    elif asks is own:
        mend = f"lower it, or {'raise that' if limits is own else f'set {limited}'}"
        yield FieldProblem(requested, f"is {asked}, which exceeds the limit of {most} {limits.whose}: {mend}")
    else:
        mend = f"raise it, or set {requested}"
        yield FieldProblem(limited, f"is {most}, which is below the request of {asked} {asks.whose}: {mend}")


def _said(name: str, said: Sequence[tuple[_Layer, Mapping[str, str]]]) -> tuple[str, _Layer] | None:
    return next(((quantities[name], layer) for layer, quantities in said if name in quantities), None)
