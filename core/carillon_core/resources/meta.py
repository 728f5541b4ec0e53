"""The metadata and the conditions of Kubernetes objects, as far as Carillon reads them."""

from typing import Literal

from pydantic import Field

from carillon_core.resources.base import Model, Time


class ObjectMeta(Model):
    """The part of ``metadata`` that Carillon reads."""

    name: str
    """The object's name, unique in its namespace."""
    namespace: str = ""
    """The object's namespace."""
    uid: str = ""
    """The identity of this object; another object of the same name has another uid."""
    resource_version: str = ""
    """Changes with every write; opaque."""
    generation: int = 0
    """Increases with every change of the spec."""
    creation_timestamp: Time | None = None
    """When the object was created."""
    deletion_timestamp: Time | None = None
    """Set while the object is being deleted."""
    labels: dict[str, str] = Field(default_factory=dict)
    """The object's labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """The object's annotations."""


class Condition(Model):
    """A condition, as ``metav1.Condition``."""

    type: str = Field(max_length=316)
    """The type of the condition, such as ``Ready``."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: str = Field(max_length=1024)
    """Why the condition has this status, in one CamelCase word."""
    message: str = Field(default="", max_length=32768)
    """Details, as a sentence."""
    last_transition_time: Time
    """When the status of the condition last changed."""
    observed_generation: int = 0
    """The metadata.generation that the condition is based on."""
