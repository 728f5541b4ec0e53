"""Which Secrets an HTTPTarget and a user's pod may use. The launcher asks before it creates a Job.

The pod reads the Secrets with the kubelet's rights. Without a webhook that
checks authors, whoever may write an HTTPTarget could read any Secret of the
namespace; so the owner of a Secret has to permit it, by a label.
"""

from typing import Literal

from carillon_core.domain.launch.order import Order
from carillon_core.domain.validity.job_templates import pod_secret_problems
from carillon_core.domain.validity.problems import own_secret_problems
from carillon_core.errors import FieldProblem, NotFoundError
from carillon_core.ports import SecretLabels
from carillon_core.resources import names
from carillon_core.resources.http_target import HTTPTargetSpec, secret_uses

TargetSecretsPolicy = Literal["labelled", "any"]


class TargetSecrets:
    """Judges the Secrets of an order's HTTPTarget, or of its own pods."""

    def __init__(self, reader: SecretLabels, runner_secret: str, policy: TargetSecretsPolicy) -> None:
        """Take where to read labels, the name of the operator's own Secret, and which Secrets may be used."""
        self._reader = reader
        self._runner_secret = runner_secret
        self._policy = policy

    async def problem(self, order: Order) -> str | None:
        """Return why an order may not be launched; None if it may.

        Raises:
            ForbiddenError: The operator may not read Secrets, which it has to with the policy ``labelled``.

        """
        if order.task.runs_own_pods:
            return self._pod_problem(order)
        if order.task.http is None or order.target is None or order.target.spec is None:
            return None
        spec = order.target.spec
        problems = own_secret_problems(spec, self._runner_secret)
        if not problems and self._policy == "labelled":
            problems = await self._label_problems(order.owner.namespace, spec)
        told = "; ".join(str(problem) for problem in problems)
        return f"HTTPTarget {order.target.name} may not be used: {told}" if problems else None

    def _pod_problem(self, order: Order) -> str | None:
        """Return why the pods of an order may not be launched: their author may use any Secret but the operator's."""
        if self._runner_secret == names.RUNNER_SECRET:
            return None  # by this name it is refused in the spec
        task = order.task.model_dump(mode="json", exclude_none=True)
        return "; ".join(str(each) for each in pod_secret_problems(task, "spec.task", self._runner_secret)) or None

    async def _label_problems(self, namespace: str, spec: HTTPTargetSpec) -> tuple[FieldProblem, ...]:
        used = sorted({use.ref.name for use in secret_uses(spec)})
        problems = {name: await self._label_problem(namespace, name) for name in used}
        told = ((use.path, problems[use.ref.name]) for use in secret_uses(spec))
        return tuple(FieldProblem(path, problem) for path, problem in told if problem is not None)

    async def _label_problem(self, namespace: str, name: str) -> str | None:
        try:
            labels = await self._reader.secret_labels(namespace, name)
        except NotFoundError:
            return None  # the runner names the missing Secret, and fails
        if labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY:
            return f"Secret {name} is Carillon's own: name a Secret of yours"
        if labels.get(names.LABEL_HTTP_TARGET) != "true":
            return unlabelled(namespace, name)
        return None


def unlabelled(namespace: str, name: str) -> str:
    """Return why a Secret may not be used, and the command that permits it."""
    label = f"kubectl label secret {name} --namespace {namespace} {names.LABEL_HTTP_TARGET}=true"
    return f"Secret {name} lacks the label that permits its use: {label}"
