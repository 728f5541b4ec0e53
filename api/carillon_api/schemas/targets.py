"""HTTPTargets: bodies, queries and answers."""

from typing import Any

from pydantic import Field

from carillon_api.schemas.answers import Answer, ObjectView, Page, PageQuery, Parameters, UserOfTarget
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model
from carillon_core.resources.http_target import HTTPTargetSpec


class TargetCreate(Model):
    """A target to be created."""

    name: str
    """The target's name: lower-case letters, digits, hyphens and dots, unique in its namespace."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels of the target, as in Kubernetes."""
    spec: HTTPTargetSpec
    """Where requests go, and with which secrets; the same words as in the custom resource."""


class TargetReplace(Model):
    """What a target shall be from now on."""

    labels: dict[str, str] | None = Field(default=None, max_length=64)
    """The labels; if left out, they stay as they are."""
    spec: HTTPTargetSpec
    """The whole spec: what is not in it goes back to its default."""


class TargetPatch(Model):
    """A JSON merge patch (RFC 7396) of a target: what is null is removed, what is left out stays."""

    labels: dict[str, str | None] | None = Field(default=None, max_length=64)
    """Labels to set, or to remove by null."""
    spec: dict[str, Any] | None = None
    """Fields of the spec to set, or to remove by null; a list takes the place of the whole list."""


class TargetView(ObjectView):
    """A target as it stands in the cluster; secrets are named, never shown."""

    spec: dict[str, Any]
    """What was asked for."""


class TargetList(Page):
    """A page of targets, by namespace and name in the API server's order."""

    items: list[TargetView]
    """The targets."""


class TargetQuery(PageQuery):
    """Which targets to list."""


class AllTargetsQuery(TargetQuery):
    """Which targets of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only this namespace; all of them if left out."""


class TargetDeletion(Parameters):
    """What becomes of those that use the target."""

    cascade: bool = False
    """Delete first the tasks and the unfinished runs that use it: what runs of them is cancelled."""


class TargetDeleted(Answer):
    """What a cascade has deleted."""

    deleted: list[UserOfTarget]
    """The tasks and the runs that used the target; the target is gone too."""
