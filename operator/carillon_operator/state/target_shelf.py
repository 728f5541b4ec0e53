"""The HTTPTargets, and which tasks and requests use them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from carillon_core.domain.observed.jobs import ObservedTarget
from carillon_core.ports import ObjectKind
from carillon_operator.state.work_queue import Key

User = tuple[ObjectKind, Key, Key]
"""The kind of an object that uses a target, the key under which it is reconciled, and its namespace and name."""


class TargetShelf:
    """The HTTPTargets by namespace and name."""

    def __init__(self, parse: Callable[[Mapping[str, Any]], ObservedTarget]) -> None:
        """Start empty; take how an object is parsed."""
        self._parse = parse
        self._targets: dict[Key, tuple[str, ObservedTarget]] = {}
        self._users: dict[Key, set[User]] = {}
        """The users of each target, whether it exists or not."""
        self._target_of: dict[User, Key] = {}

    def get(self, namespace: str, name: str) -> ObservedTarget | None:
        """Return an HTTPTarget, or None if it is not known."""
        known = self._targets.get((namespace, name))
        return known[1] if known else None

    def uids(self) -> dict[Key, str]:
        """Return the uid of each HTTPTarget by its namespace and name."""
        return {name: uid for name, (uid, _) in self._targets.items()}

    def put(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Take an HTTPTarget from the API server; return the keys of its users."""
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        self._targets[name] = (meta["uid"], self._parse(raw))
        return self._keys_of_users(name)

    def drop(self, name: Key, uid: str) -> Sequence[Key]:
        """Forget a deleted HTTPTarget; return the keys of its users."""
        known = self._targets.get(name)
        if known is not None and known[0] == uid:
            del self._targets[name]
        return self._keys_of_users(name)

    def use(self, user: User, target: str | None) -> None:
        """Learn which HTTPTarget of its namespace an object uses; None means that it uses none."""
        self.unuse(user)
        if target is not None:
            name = (user[1][0], target)
            self._target_of[user] = name
            self._users.setdefault(name, set()).add(user)

    def unuse(self, user: User) -> None:
        """Learn that an object uses no HTTPTarget any more."""
        name = self._target_of.pop(user, None)
        if name is not None:
            self._users[name].discard(user)
            if not self._users[name]:
                del self._users[name]

    def _keys_of_users(self, name: Key) -> list[Key]:
        return sorted({key for _, key, _ in self._users.get(name, ())})
