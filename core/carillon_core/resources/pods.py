"""Where and how pods run: what the operator's default and a task's ``pod`` can say, in the words of a pod's spec."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from carillon_core.resources.base import Model
from carillon_core.resources.tasks import LABEL_NAME, LABEL_VALUE, QUALIFIED_NAME, ContainerResources, ObjectName

LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=QUALIFIED_NAME)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]


class TolerationOperator(StrEnum):
    """How a toleration's value is compared."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint that pods put up with, as in a pod's spec."""

    key: LabelKey | None = None
    """The taint's key; any, with operator Exists, if left out."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Equal compares the value; Exists is content with the key."""
    value: LabelValue | None = None
    """The taint's value, with operator Equal."""
    effect: TaintEffect | None = None
    """The taint's effect; any if left out."""
    toleration_seconds: int | None = Field(default=None, ge=0)
    """So long a taint of effect NoExecute is put up with; for ever if left out."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Toleration":
        if self.operator is TolerationOperator.EXISTS and self.value:
            msg = "has operator Exists and a value: remove the value, or write operator: Equal"
            raise ValueError(msg)
        if self.operator is TolerationOperator.EQUAL and self.key is None:
            msg = "has no key: add one, or write operator: Exists to tolerate every taint"
            raise ValueError(msg)
        if self.toleration_seconds is not None and self.effect is not TaintEffect.NO_EXECUTE:
            msg = "has tolerationSeconds without effect: NoExecute: add it, or remove tolerationSeconds"
            raise ValueError(msg)
        return self


class ImagePullSecret(Model):
    """Names a Secret of the pod's own namespace."""

    name: ObjectName
    """The Secret's name; it holds credentials of a registry."""


QueueName = Annotated[str, Field(max_length=63, pattern=LABEL_NAME)]


class PodSettings(Model):
    """Where and how pods run."""

    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=32)
    """Labels that a node must have. The operator's default and the task's own are both needed; of one key the task's
    value counts."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    """Taints that are tolerated, beside those of the operator's default."""
    priority_class_name: ObjectName | None = None
    """The PriorityClass; the operator's default if left out."""
    service_account_name: ObjectName | None = None
    """The ServiceAccount, of the task's namespace; the operator's default if left out. Its token is not mounted."""
    image_pull_secrets: list[ImagePullSecret] = Field(default_factory=list, max_length=16)
    """Secrets to pull images with, beside those of the operator's default."""
    resources: ContainerResources = Field(default_factory=ContainerResources)
    """What a runner asks for and may use at most, each resource instead of the operator's default. A container task has
    its own, in task.container.resources."""
