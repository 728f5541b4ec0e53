"""Which operator a task belongs to, where several share them. Pure."""

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of all tasks; the operators of a part decide about its tasks and no others."""

    index: int = 0
    """From 0 to ``count`` - 1."""
    count: int = 1

    def owns(self, uid: str) -> bool:
        """Return whether the object of this uid is in this part: each uid is in exactly one.

        By SHA-256, which says the same in every process and every version; Python's own hash does not.
        """
        return int.from_bytes(sha256(uid.encode()).digest()) % self.count == self.index
