"""The Lease that operators elect their leader by. ``settings`` reads it; the election uses it."""

from dataclasses import dataclass

LEASE_SECONDS = 6


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease, and the identity that holds it."""

    namespace: str
    name: str
    identity: str
    seconds: int = LEASE_SECONDS
    """A leader that fails is replaced after this time. It renews the Lease after a third of it, and stops leading if it
    could not renew for two thirds."""
