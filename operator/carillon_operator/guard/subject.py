"""What the guard speaks of: one version of one object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from carillon_core.ports import ObjectKind
from carillon_core.resources.meta import ObjectMeta


@dataclass(frozen=True, slots=True)
class Subject:
    """One generation of one object."""

    kind: ObjectKind
    namespace: str
    name: str
    uid: str
    generation: int

    @classmethod
    def of_meta(cls, kind: ObjectKind, meta: ObjectMeta) -> Self:
        """Return the subject that a parsed object is."""
        return cls(kind, meta.namespace, meta.name, meta.uid, meta.generation)

    @classmethod
    def of_object(cls, kind: ObjectKind, raw: Mapping[str, Any]) -> Self:
        """Return the subject that an object from the API server is."""
        meta = raw["metadata"]
        return cls(kind, meta["namespace"], meta["name"], meta["uid"], meta.get("generation", 0))

    def __str__(self) -> str:
        """Return ``ScheduledTask shop/report``."""
        return f"{self.kind} {self.namespace}/{self.name}"
