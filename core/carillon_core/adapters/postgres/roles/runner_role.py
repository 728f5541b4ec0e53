"""The role that runners log in as; ``carillon-migrate runner-role`` makes it.

It may call the functions of the schema ``carillon_runner``, which act on the
one execution whose token they are given, and nothing else: no table, no
sequence, nothing that it could create.
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
    bound="neither read nor write any table, nor create anything",
    functions=True,
)


def prepare(owner_url: str, runner_url: str) -> Sequence[str]:
    """Make the role of the runner's URL, as ``login_role.prepare`` does."""
    return login_role.prepare(_ROLE, owner_url, runner_url)
