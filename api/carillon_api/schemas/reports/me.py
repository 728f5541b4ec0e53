"""The caller's identity, and its permissions by namespace."""

from carillon_api.schemas.answers import Answer, Parameters
from carillon_api.schemas.names import NamespaceName


class CallerQuery(Parameters):
    """Which permissions to ask for."""

    namespace: NamespaceName | None = None
    """Only the permissions in this namespace. Default: in all served namespaces that are known by name."""


class PermissionsView(Answer):
    """The verbs of the cluster's RBAC that the caller may use, by resource."""

    tasks: list[str]
    """On scheduledtasks: get, list, create, update, patch and delete."""
    targets: list[str]
    """On httptargets: get, list, create, update, patch and delete."""
    requests: list[str]
    """On runrequests: get, list, create and delete. Running a task and retrying an execution need create."""
    executions: list[str]
    """On executions: get and list."""


class NamespacePermissions(PermissionsView):
    """The verbs that the caller may use in one namespace."""

    name: str
    """The namespace's name."""


class CallerView(Answer):
    """The caller and its permissions. They are cached for up to ten seconds."""

    user_name: str
    """The user's name in the cluster."""
    groups: list[str]
    """The user's groups in the cluster."""
    default_namespace: str
    """The namespace that is used if an API call names none."""
    serves_all_namespaces: bool
    """Whether this API serves all namespaces. It cannot list them: unless namespace is given, only the default
    namespace and a service account's own are checked."""
    everywhere: PermissionsView
    """What the caller may do in all namespaces of the cluster."""
    namespaces: list[NamespacePermissions]
    """The served namespaces in which the caller has at least one permission, sorted by name. Cluster-wide permissions
    are included."""
    unchecked_namespaces: int
    """The number of namespaces that were not checked, to limit the number of access reviews. Set the namespace
    parameter to check one."""
