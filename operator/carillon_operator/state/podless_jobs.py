"""Which Jobs may have a pod and never had one. The Job shelf keeps it."""

JobName = tuple[str, str]


class PodlessJobs:
    """The names of Jobs without a pod, by their namespace."""

    def __init__(self) -> None:
        """Start empty."""
        self._names: dict[str, set[JobName]] = {}

    def add(self, name: JobName) -> None:
        """Add a Job that has no pod."""
        self._names.setdefault(name[0], set()).add(name)

    def discard(self, name: JobName) -> None:
        """Remove a Job that has a pod, had one, or is not to have one."""
        others = self._names.get(name[0])
        if others is not None:
            others.discard(name)
            if not others:
                del self._names[name[0]]

    def has(self, name: JobName) -> bool:
        """Return whether a Job has no pod."""
        return name in self._names.get(name[0], ())

    def of(self, namespace: str) -> list[JobName]:
        """Return the Jobs of a namespace, by name."""
        return sorted(self._names.get(namespace, ()))

    def namespaces(self) -> set[str]:
        """Return the namespaces that have such Jobs."""
        return set(self._names)
