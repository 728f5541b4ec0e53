"""The Lease that operators elect their leader by. ``settings`` reads it; the election uses it."""

import socket
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

from pydantic import AfterValidator, Field

from carillon_core.domain.shard import Shard
from carillon_core.name_patterns import is_dns_label
from carillon_core.settings import Form, ProgramSettings, WholeNumber

LEASE_SECONDS = 6
LEASE_NAME = "carillon-operator"


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease, and the identity that holds it."""

    namespace: str
    name: str
    identity: str
    seconds: int = LEASE_SECONDS
    """A leader that fails is replaced after this time. It renews the Lease after a third of it, and stops leading if it
    could not renew for two thirds."""


def _name(text: str) -> str:
    if not is_dns_label(text):
        msg = (
            "must be a name of at most 63 lower-case letters, digits and hyphens, such as carillon-system"
            f' (got "{text}")'
        )
        raise ValueError(msg)
    return text


_Name = Annotated[str, AfterValidator(_name), Form("a name")]


class LeaseVariables(ProgramSettings):
    """The Lease of the leader. Read if its namespace is set."""

    namespace: _Name = Field(
        validation_alias="CARILLON_LEASE_NAMESPACE",
        description="The namespace of the Lease. Default: no Lease; run one operator only.",
    )
    name: _Name = Field(
        default=LEASE_NAME,
        validation_alias="CARILLON_LEASE_NAME",
        description="The name of the Lease. With several shards, the shard's number is appended.",
    )
    identity: str | None = Field(
        default=None,
        validation_alias="CARILLON_POD_NAME",
        description="The name of the Lease's holder. Default: the host name with a random suffix.",
    )
    # below three seconds a renewal has no time for a second try
    seconds: WholeNumber = Field(
        default=LEASE_SECONDS,
        ge=3,
        le=3600,
        validation_alias="CARILLON_LEASE_SECONDS",
        description="A leader that fails is replaced after this many seconds.",
    )

    def of_shard(self, shard: Shard) -> LeaseSettings:
        """Return the Lease of one shard; each shard has its own leader."""
        return LeaseSettings(
            namespace=self.namespace,
            name=self.name if shard.count == 1 else f"{self.name}-{shard.index}",
            identity=self.identity or f"{socket.gethostname()}-{uuid4().hex[:8]}",
            seconds=self.seconds,
        )
