"""Who calls, what the caller wants to do, and what the cluster's authorisation says of it. Values only."""

from dataclasses import dataclass

from carillon_core.resources import names

RESOURCE_EXECUTIONS = "executions"
"""Executions are rows of the history and no objects of the cluster; RBAC speaks of them by this name all the same."""
RESOURCE_AUDIT = "auditevents"
"""The same for the audit's rows."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A user of the cluster, as its authentication knows it."""

    name: str
    """Such as ``system:serviceaccount:team-a:ci``."""
    groups: tuple[str, ...] = ()
    """The groups, ``system:authenticated`` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One thing that a subject may want to do, in the words of RBAC."""

    verb: str
    resource: str
    """The plural, such as ``scheduledtasks`` or ``executions``."""
    namespace: str | None = None
    """None means all of them."""
    name: str | None = None
    """None means any."""
    group: str = names.GROUP
    subresource: str | None = None
    path: str | None = None
    """A path that is no resource's, RBAC's ``nonResourceURLs``; then of the others only the verb counts."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the cluster's authorisation says."""

    allowed: bool
    reason: str = ""
    """Why, as far as the cluster tells; may be empty."""
