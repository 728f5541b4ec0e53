"""Which namespaces are seen to, where Carillon is not for the whole cluster: operator and facade ask. Pure."""

from dataclasses import dataclass

SETTING = "CARILLON_NAMESPACES"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """All namespaces, or some."""

    namespaces: tuple[str, ...] = ()
    """Their names in order; empty means all there are."""

    @property
    def places(self) -> tuple[str | None, ...]:
        """Where a list or a watch has to be made, so that nothing is left out: each namespace, or None for all."""
        return self.namespaces or (None,)

    def holds(self, namespace: str) -> bool:
        """Return whether a namespace is seen to."""
        return not self.namespaces or namespace in self.namespaces

    def __str__(self) -> str:
        """Return the namespaces as a sentence names them."""
        named = ", ".join(self.namespaces[:_MOST_NAMED])
        more = len(self.namespaces) - _MOST_NAMED
        return (f"{named} and {more} more" if more > 0 else named) or "all"
