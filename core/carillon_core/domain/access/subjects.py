"""Values for access control: a subject, an access that it asks for, and the cluster's decision."""

from dataclasses import dataclass

from carillon_core.resources import names

RESOURCE_EXECUTIONS = "executions"
"""The resource in RBAC for executions, although they are rows of the history and not objects of the cluster."""
RESOURCE_AUDIT = "auditevents"
"""The resource in RBAC for events of the audit log."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An authenticated user of the cluster."""

    name: str
    """Such as ``system:serviceaccount:team-a:ci``."""
    groups: tuple[str, ...] = ()
    """The groups, including ``system:authenticated``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One action that a subject asks to do, in the terms of RBAC."""

    verb: str
    resource: str
    """The plural, such as ``scheduledtasks`` or ``executions``."""
    namespace: str | None = None
    """None means all namespaces."""
    name: str | None = None
    """None means any name."""
    group: str = names.GROUP
    subresource: str | None = None
    path: str | None = None
    """A path that is not a resource's (RBAC's ``nonResourceURLs``); if set, only the verb is used besides it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The cluster's decision about an access."""

    allowed: bool
    reason: str = ""
    """The cluster's reason; may be empty."""
