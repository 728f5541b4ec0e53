"""HTTPTargets: bodies, query parameters and responses."""

from typing import Any, Literal

from pydantic import Field

from carillon_api.schemas.answers import Answer, ObjectView, Page, PageQuery, Parameters, UserOfTarget
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model
from carillon_core.resources.http_target import HTTPTargetSpec


class TargetCreate(Model):
    """A target to create."""

    name: str
    """The target's name: lowercase letters, digits, hyphens and dots; unique in its namespace."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """The target's labels, as in Kubernetes."""
    spec: HTTPTargetSpec
    """Where requests go, and with which Secrets: the same fields as in the custom resource."""


class TargetReplace(Model):
    """The new labels and spec of a target."""

    labels: dict[str, str] | None = Field(default=None, max_length=64)
    """The new labels. Default: the labels stay as they are."""
    spec: HTTPTargetSpec
    """The complete new spec: fields that are left out get their default values."""


class TargetPatch(Model):
    """A JSON merge patch (RFC 7396) of a target: null removes a field, and a field that is left out stays as it is."""

    labels: dict[str, str | None] | None = Field(default=None, max_length=64)
    """Labels to set, or to remove with null."""
    spec: dict[str, Any] | None = None
    """Fields of the spec to set, or to remove with null. A list replaces the whole list."""


class TargetView(ObjectView):
    """A target as stored in the cluster. It names Secrets and never shows their values."""

    spec: dict[str, Any]
    """The target's spec."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class TargetList(Page):
    """A page of targets, by namespace and name in the API server's order."""

    items: list[TargetView]
    """The targets."""


class TargetQuery(PageQuery):
    """Which targets to list."""


class AllTargetsQuery(TargetQuery):
    """Which targets of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only targets in this namespace. Default: all namespaces."""


class TargetDeletion(Parameters):
    """What happens to the objects that use the target."""

    cascade: bool = False
    """First delete the tasks and unfinished runs that use the target; their active executions are cancelled."""
    dry_run: Literal["All"] | None = None
    """All: change nothing, and return what the deletion would change."""


class TargetDeleted(Answer):
    """What a cascading deletion has deleted."""

    deleted: list[UserOfTarget]
    """The tasks and runs that used the target, which is deleted as well."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""
