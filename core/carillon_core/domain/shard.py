"""Which operator a task belongs to if several share the tasks. Pure."""

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of all tasks; the operators of a shard decide about its tasks only."""

    index: int = 0
    """From 0 to ``count`` - 1."""
    count: int = 1

    def owns(self, uid: str) -> bool:
        """Return whether the object with this uid is in this shard; each uid is in exactly one.

        Uses SHA-256, which is the same in every process and version; Python's own hash is not.
        """
        return int.from_bytes(sha256(uid.encode()).digest()) % self.count == self.index
