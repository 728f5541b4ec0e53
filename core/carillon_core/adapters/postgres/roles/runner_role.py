"""The role that runners log in as; ``carillon-migrate runner-role`` creates it.

It may only call the functions of the schema ``carillon_runner``, each of which
acts on the one execution whose token it is given. It has no access to tables
and sequences, and cannot create objects. The recorder logs in with it; without
a recorder, everyone who can read Secrets in a namespace with tasks has it, so
its connections are limited and its sessions' defaults are set anew at each call.
Each namespace can have a role of its own: see ``namespace_login``.
"""

from collections.abc import Sequence
from dataclasses import replace

from carillon_core.adapters.postgres.roles import login_role
from carillon_core.adapters.postgres.roles.login_role import RUNNERS, LoginRole
from carillon_core.adapters.postgres.roles.namespace_login import RUNNER, namespace_url

_ROLE = LoginRole(
    variable=RUNNER,
    whose="runners",
    mark=RUNNERS,
    granted="the functions of the schema carillon_runner",
    bound="read or write tables, or create objects",
    functions=True,
    is_shared=True,
)
_OF_A_NAMESPACE = replace(_ROLE, connections_divisor=8)
"""Several namespaces together leave connections for the operator and the API."""


def prepare(owner_url: str, runner_url: str) -> Sequence[str]:
    """Create the role of the runners' URL, as ``login_role.prepare`` describes."""
    return login_role.prepare(_ROLE, owner_url, runner_url)


def prepare_namespace(owner_url: str, runner_url: str, namespace: str) -> Sequence[str]:
    """Create the role of one namespace's runners, as ``login_role.prepare`` describes."""
    return login_role.prepare(_OF_A_NAMESPACE, owner_url, namespace_url(runner_url, namespace))
