"""The permissions that an author needs for what an object of ours has the operator do for them. Pure.

The operator launches with its own account. Without these rules, whoever may
create an HTTPTarget could read every Secret of the namespace, and whoever may
create a RunRequest could run any image under any ServiceAccount. The admission
webhook asks the cluster about each need, as the author.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from carillon_core.domain.access.subjects import Access, Subject
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.containers import ContainerTask, JobTask
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec, secret_uses
from carillon_core.resources.names import GROUP, KIND, KIND_TARGET, PLURAL
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import parse_spec
from carillon_core.resources.tasks import Task


@dataclass(frozen=True, slots=True)
class Need:
    """A field, and the access that its author needs."""

    field: str
    """The field's path, such as ``spec.signing.secretKeyRefs[0]``."""
    access: Access

    def refusal(self, author: Subject) -> FieldProblem:
        """Return the problem of an author without that access."""
        resource = f"{self.access.resource}.{self.access.group}" if self.access.group else self.access.resource
        named = f' "{self.access.name}"' if self.access.name else ""
        where = f'in namespace "{self.access.namespace}"'
        return FieldProblem(
            self.field, f'user "{author.name}" needs the permission to {self.access.verb} {resource}{named} {where}'
        )


def needs_of(kind: str, namespace: str, new: Mapping[str, Any], old: Mapping[str, Any] | None) -> tuple[Need, ...]:
    """Return what the author of an object needs, for what is new in it.

    A field counts as new also if another field changes what it leads to: a
    Secret when the URL changes that it is sent to, a ServiceAccount when the
    container changes that runs under it.

    Args:
        kind: ScheduledTask, HTTPTarget or RunRequest.
        namespace: The object's namespace.
        new: The object to store; its spec satisfies the schema.
        old: The object that it replaces, if any; if its spec cannot be read, all fields are new.

    """
    if old is not None and old.get("spec") == new.get("spec"):
        return ()
    if kind == KIND_TARGET:
        target = parse_target_spec(new.get("spec"), strict=False)
        return _target_needs(target, _stored(old, parse_target_spec), namespace)
    if kind == KIND:
        spec, stored = parse_spec(new.get("spec"), strict=False), _stored(old, parse_spec)
        before = _Run() if stored is None else _Run(stored.task, stored.pod)
        return _run_needs(_Run(spec.task, spec.pod), before, namespace)
    request, known = parse_request_spec(new.get("spec"), strict=False), _stored(old, parse_request_spec)
    before = _Run() if known is None else _Run(known.task, known.pod)
    own: tuple[Need, ...] = ()
    if request.task is not None and request.task != before.task:
        own = (Need("spec.task", Access(verb="create", group=GROUP, resource=PLURAL, namespace=namespace)),)
    needs = (*own, *_run_needs(_Run(request.task, request.pod), before, namespace))
    # even an empty one takes the place of the settings of the task that is run, its node selector among them
    replaces = request.task is None and request.pod is not None and request.pod != before.pod
    if replaces and not any(need.field == "spec.pod" for need in needs):
        needs = (*needs, _pod_need(namespace))
    return needs


@dataclass(frozen=True, slots=True)
class _Run:
    """What decides about a pod: the task and the pod's settings."""

    task: Task | None = None
    pod: PodSettings | None = None


_Spec = TypeVar("_Spec")


def _stored(old: Mapping[str, Any] | None, parse: Callable[..., _Spec]) -> _Spec | None:
    try:
        return None if old is None else parse(old.get("spec"), strict=False)
    except InvalidResourceError:
        return None


def _target_needs(target: HTTPTargetSpec, stored: HTTPTargetSpec | None, namespace: str) -> tuple[Need, ...]:
    same_url = stored is not None and stored.url == target.url
    known = {(use.header, use.ref.name, use.ref.key) for use in secret_uses(stored)} if stored and same_url else set()
    return tuple(
        Need(use.path, Access(verb="get", group="", resource="secrets", namespace=namespace, name=use.ref.name))
        for use in secret_uses(target)
        if (use.header, use.ref.name, use.ref.key) not in known
    )


def _pod_need(namespace: str) -> Need:
    return Need("spec.pod", Access(verb="create", group="batch", resource="jobs", namespace=namespace))


def _run_needs(run: _Run, before: _Run, namespace: str) -> tuple[Need, ...]:
    pod, before_pod = run.pod or PodSettings(), before.pod or PodSettings()
    account = pod.service_account_name
    own, known = _own_pods(run.task), _own_pods(before.task)
    new_pods = own is not None and own != known
    jobs = Access(verb="create", group="batch", resource="jobs", namespace=namespace)
    needs = []
    if new_pods and run.task is not None:
        needs.append(Need(f"spec.task.{run.task.type}", jobs))
        needs += [_account_need(path, name, namespace) for path, name in _accounts(run.task)]
    if pod not in (PodSettings(), before_pod):
        needs.append(_pod_need(namespace))
    if account is not None and (new_pods or account != before_pod.service_account_name):
        needs.append(_account_need("spec.pod.serviceAccountName", account, namespace))
    return tuple(needs)


def _own_pods(task: Task | None) -> ContainerTask | JobTask | None:
    return None if task is None else task.container or task.job


def _account_need(path: str, account: str, namespace: str) -> Need:
    act = Access(verb="impersonate", group="", resource="serviceaccounts", namespace=namespace, name=account)
    return Need(path, act)


def _accounts(task: Task) -> Iterator[tuple[str, str]]:
    """Yield the ServiceAccount that a task's own pods run under, with its field; both of its names in a pod's spec."""
    if task.container is not None and task.container.service_account_name:
        yield "spec.task.container.serviceAccountName", task.container.service_account_name
    if task.job is None:
        return
    pod: Any = task.job.template
    for part in ("spec", "template", "spec"):
        pod = pod.get(part) if isinstance(pod, Mapping) else None
    for name in ("serviceAccountName", "serviceAccount"):
        if isinstance(pod, Mapping) and pod.get(name):
            yield f"spec.task.job.template.spec.template.spec.{name}", str(pod[name])
