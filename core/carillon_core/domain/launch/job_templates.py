"""Makes the Job of a ``job`` task from its template. Pure.

Nothing that Carillon sets is taken from the template, even if it was stored
without being checked.
"""

from collections.abc import Mapping
from typing import Any

from carillon_core.domain.launch.order import Order
from carillon_core.domain.pod_settings import pod_fields
from carillon_core.domain.validity.job_templates import SET_IN_SPEC
from carillon_core.resources import names
from carillon_core.resources.containers import JobTask
from carillon_core.resources.pods import PodSettings

_JOINED = ("imagePullSecrets", "tolerations")
_FROM_LOG = {"terminationMessagePolicy": "FallbackToLogsOnError"}


def own_metadata(template: Mapping[str, Any], ours: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the labels and annotations of a template together with ours, which win."""
    given = _object(template.get("metadata"))
    return {kind: {**_object(given.get(kind)), **words} for kind, words in ours.items()}


def completions_of(task: JobTask) -> int:
    """Return how many pods of a Job must succeed, as far as its template says."""
    wanted = _object(task.template.get("spec")).get("completions")
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


def job_spec(
    task: JobTask, order: Order, ours: Mapping[str, Mapping[str, str]], defaults: PodSettings
) -> dict[str, Any]:
    """Return the spec of the Job of a template.

    Args:
        task: The task with the template.
        order: The execution.
        ours: The labels and annotations of its Job and pods.
        defaults: The operator's pod settings, for what the template does not set.

    """
    spec = {name: value for name, value in _object(task.template.get("spec")).items() if name not in SET_IN_SPEC}
    if order.own_timeout_seconds is not None:
        spec["activeDeadlineSeconds"] = order.own_timeout_seconds
    inner = _object(spec.get("template"))
    pod = _telling(_with_defaults(_object(inner.get("spec")), pod_fields(defaults)))
    return {**spec, "template": {"metadata": own_metadata(inner, ours), "spec": pod}}


def _with_defaults(pod: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod's spec with defaults: its own fields win, lists are joined. What is malformed stays as it is."""
    joined = dict(pod)
    for name, value in defaults.items():
        own = pod.get(name)
        if not own:
            joined[name] = value
        elif name in _JOINED and isinstance(own, list):
            joined[name] = [*value, *(each for each in own if each not in value)]
        elif name == "nodeSelector" and isinstance(own, Mapping):
            joined[name] = {**value, **own}
    return joined


def _object(part: object) -> Mapping[str, Any]:
    """Return a part of a template that should be an object; the API server judges what else it may be."""
    return part if isinstance(part, Mapping) else {}


def _telling(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod whose containers, if they fail without a termination message, have the end of their log as one."""
    return {
        **pod,
        **{
            name: [{**_FROM_LOG, **each} if isinstance(each, dict) else each for each in pod[name]]
            for name in ("initContainers", "containers")
            if isinstance(pod.get(name), list)
        },
    }


def completions_annotation(task: JobTask) -> dict[str, str]:
    """Return the annotation that tells how many pods of a Job must succeed, where one is not enough."""
    wanted = completions_of(task)
    return {names.ANNOTATION_COMPLETIONS: str(wanted)} if wanted > 1 else {}
