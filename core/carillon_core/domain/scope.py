"""The namespaces that the operator and the facade serve: all, or some. Pure."""

from dataclasses import dataclass

SETTING = "CARILLON_NAMESPACES"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Scope:
    """All namespaces, or some."""

    namespaces: tuple[str, ...] = ()
    """Their names in order; empty means all namespaces."""

    @property
    def places(self) -> tuple[str | None, ...]:
        """The namespaces to list or watch separately; None stands for one list of all namespaces."""
        return self.namespaces or (None,)

    def holds(self, namespace: str) -> bool:
        """Return whether a namespace is served."""
        return not self.namespaces or namespace in self.namespaces

    def __str__(self) -> str:
        """Return the namespaces as a phrase."""
        named = ", ".join(self.namespaces[:_MOST_NAMED])
        more = len(self.namespaces) - _MOST_NAMED
        return (f"{named} and {more} more" if more > 0 else named) or "all"
