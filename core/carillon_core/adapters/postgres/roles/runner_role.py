"""The role that runners log in as; ``carillon-migrate runner-role`` creates it.

It may only call the functions of the schema ``carillon_runner``, each of which
acts on the one execution whose token it is given. It has no access to tables
and sequences, and cannot create objects. The recorder logs in with it; without
a recorder, everyone who can read Secrets in a namespace with tasks has it, so
its connections are limited and its sessions' defaults are set anew at each call.
"""

from collections.abc import Sequence

from carillon_core.adapters.postgres.roles import login_role
from carillon_core.adapters.postgres.roles.login_role import RUNNERS, LoginRole

RUNNER = "CARILLON_RUNNER_DATABASE_URL"

_ROLE = LoginRole(
    variable=RUNNER,
    whose="runners",
    mark=RUNNERS,
    granted="the functions of the schema carillon_runner",
    bound="read or write tables, or create objects",
    functions=True,
    is_shared=True,
)


def prepare(owner_url: str, runner_url: str) -> Sequence[str]:
    """Create the role of the runners' URL, as ``login_role.prepare`` describes."""
    return login_role.prepare(_ROLE, owner_url, runner_url)
