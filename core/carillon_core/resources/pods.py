"""Pod settings, for the operator's defaults and a task's ``pod``; the fields are those of a pod's spec."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from carillon_core.resources.base import Model
from carillon_core.resources.containers import ContainerResources, ObjectName
from carillon_core.resources.tasks import LABEL_NAME, LABEL_VALUE, QUALIFIED_NAME

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
    """A toleration, as in a pod spec."""

    key: LabelKey | None = None
    """The key of the taint. If not set, operator must be Exists, which tolerates every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Equal matches key and value; Exists matches any value of the key. Default: Equal."""
    value: LabelValue | None = None
    """The value of the taint. Only valid with operator Equal."""
    effect: TaintEffect | None = None
    """The effect of the taint. Default: all effects."""
    toleration_seconds: int | None = Field(default=None, ge=0)
    """How long a NoExecute taint is tolerated, in seconds. Default: forever. Only valid with effect NoExecute."""

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
    """A reference to a Secret in the same namespace."""

    name: ObjectName
    """The name of the Secret, which holds registry credentials."""


QueueName = Annotated[str, Field(max_length=63, pattern=LABEL_NAME)]


class PodSettings(Model):
    """Settings for pods."""

    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=32)
    """Labels that a node must have. Merged with the operator's defaults; the task's value overrides that of the same
    key."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=32)
    """Tolerations, in addition to the operator's defaults."""
    priority_class_name: ObjectName | None = None
    """The name of the PriorityClass. Default: the operator's default."""
    service_account_name: ObjectName | None = None
    """The name of the ServiceAccount in the task's namespace. Its token is not mounted. Default: the operator's
    default."""
    image_pull_secrets: list[ImagePullSecret] = Field(default_factory=list, max_length=16)
    """Secrets for pulling images, in addition to the operator's defaults."""
    resources: ContainerResources = Field(default_factory=ContainerResources)
    """The resource requests and limits of a runner; each overrides the operator's default. A container task sets its
    own in task.container.resources."""
