"""A shelf keeps all objects of one kind that have a spec and a status: one for ScheduledTasks, one for RunRequests."""

from collections import Counter
from collections.abc import Callable, KeysView, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from carillon_core.domain.observed.jobs import ObservedRequest, ObservedTask
from carillon_core.ports import ObjectKind
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.run_request import RunRequestStatus
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from carillon_operator.state.agenda import Agenda
from carillon_operator.state.target_shelf import TargetShelf
from carillon_operator.state.work_queue import Key

ItemT = TypeVar("ItemT", ObservedTask, ObservedRequest)
Status = ScheduledTaskStatus | RunRequestStatus

REMEMBERED = 10_000
"""How many objects that are gone a shelf remembers by their uids: their Jobs may end later."""


class Departed:
    """The namespaces of objects that are gone, by uid."""

    def __init__(self) -> None:
        """Start empty."""
        self._namespaces: LRUCache[str, str] = LRUCache(REMEMBERED)

    def learn(self, namespace: str, uid: str) -> None:
        """Remember that an object existed, until ``REMEMBERED`` others are asked for or gone."""
        self._namespaces[uid] = namespace

    def namespace_of(self, uid: str) -> str | None:
        """Return the namespace of an object that is gone, or None if it is not remembered."""
        return self._namespaces.get(uid)


class Shelf(Generic[ItemT]):
    """The objects of one kind, by namespace and name.

    Each has two statuses: the one that the API server has (``stored``) and the
    one that was decided last (``status``), which the next decision starts from.
    """

    def __init__(
        self,
        kind: ObjectKind,
        parse: Callable[[Mapping[str, Any]], ItemT],
        key_of: Callable[[ItemT], Key],
        targets: TargetShelf,
        agenda: Agenda | None = None,
    ) -> None:
        """Start empty.

        Args:
            kind: The objects' kind.
            parse: Returns an object from its JSON.
            key_of: Returns the key under which an object is reconciled.
            targets: Learns which HTTPTarget each object uses.
            agenda: Learns which objects change.

        """
        self._kind = kind
        self._parse: Callable[[Mapping[str, Any]], ItemT] = parse
        self._key_of: Callable[[ItemT], Key] = key_of
        self._targets = targets
        self._agenda = agenda
        self.departed = Departed()
        self._names: dict[str, Key] = {}
        """The namespace and name of each object by its uid."""
        self._items: dict[Key, ItemT] = {}
        self._by_key: dict[Key, set[Key]] = {}
        self._sent: dict[Key, Status] = {}
        self._foreign: Counter[Key] = Counter()

    def get(self, name: Key) -> ItemT | None:
        """Return an object with its HTTPTarget, or None if it is not known."""
        item = self._items.get(name)
        return None if item is None else self._with_target(item)

    def under(self, key: Key) -> list[ItemT]:
        """Return the objects that are reconciled under a key, each with its HTTPTarget."""
        return [self._with_target(self._items[name]) for name in self._by_key.get(key, ())]

    def uids_under(self, key: Key) -> set[str]:
        """Return the uids of the objects that are reconciled under a key."""
        return {self._items[name].meta.uid for name in self._by_key.get(key, ())}

    def name_of(self, uid: str) -> Key | None:
        """Return the namespace and name of an object, or None if it is not known."""
        return self._names.get(uid)

    def knew(self, namespace: str, uid: str) -> bool:
        """Return whether an object of this uid is, or was, known in a namespace."""
        name = self._names.get(uid)
        return (self.departed.namespace_of(uid) if name is None else name[0]) == namespace

    def touch(self, name: Key) -> None:
        """Have the agenda look at an object."""
        if self._agenda is not None and (item := self._items.get(name)) is not None:
            self._agenda.changed(self._key_of(item), name)

    def keys(self) -> KeysView[Key]:
        """Return the keys under which objects are reconciled."""
        return self._by_key.keys()

    def uids(self) -> dict[Key, str]:
        """Return the uid of each object by its namespace and name."""
        return {name: item.meta.uid for name, item in self._items.items()}

    def put(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Take an object from the API server, unless a newer version is known; return the key to reconcile.

        The status decided last is kept, unless another writer has changed
        the status since: then the written one is taken.
        """
        item = self._parse(raw)
        name = _name(item.meta)
        old = self._items.get(name)
        if old is not None and _older(item.meta, old.meta):
            # this includes events of a deleted object of the same name, which come in any order
            return [self._key_of(old)]
        same = old is not None and old.meta.uid == item.meta.uid
        if old is not None and same:
            item = _with_spec(item, old)
        if old is not None and same and item.stored in (old.stored, self._sent.get(name)):
            item = _with_status(item, old.status)
        else:
            self._foreign[name] += 1
        self._keep(name, item)
        return [self._key_of(item)]

    def adopt(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Take an object with the status that the API server has, and drop the decided one; return its key."""
        item = self._parse(raw)
        name = _name(item.meta)
        self._keep(name, item)
        self._foreign[name] += 1
        return [self._key_of(item)]

    def sending(self, name: Key, status: Status) -> None:
        """Remember a status that is about to be written: its event may come before the response."""
        if name in self._items:
            self._sent[name] = status

    def sent(self, raw: Mapping[str, Any]) -> Sequence[Key]:
        """Remember that our status was written, and the object's new version; return its key."""
        written = self._parse(raw)
        name = _name(written.meta)
        item = self._items.get(name)
        if item is None or item.meta.uid != written.meta.uid or _older(written.meta, item.meta):
            return [self._key_of(written)]
        meta = item.meta.model_copy(update={"resource_version": written.meta.resource_version})
        # a newer spec comes with an event of its own, whose version is newer still
        self._items[name] = _with_stored(item, meta, written)
        if item.status == written.stored:  # one status, once in memory
            self._items[name] = _with_status(self._items[name], written.stored)
        self.touch(name)
        return [self._key_of(written)]

    def foreign_statuses(self, name: Key) -> int:
        """Return how often others have written an object's status; if it grew since, a decision is outdated."""
        return self._foreign[name]

    def set_status(self, name: Key, uid: str, status: Status) -> None:
        """Remember the status that was decided."""
        item = self._items.get(name)
        if item is not None and item.meta.uid == uid:
            self._items[name] = _with_status(item, status)

    def drop(self, name: Key, uid: str) -> Sequence[Key]:
        """Forget a deleted object; return the key to reconcile, or nothing if no object has this name."""
        item = self._items.get(name)
        if item is None:
            return []
        key = self._key_of(item)
        if item.meta.uid != uid:
            # a new object has taken the name, and its status may have been dropped with that of the old one
            return [key]
        self._targets.unuse((self._kind, key, name))
        del self._items[name]
        self._names.pop(uid, None)
        self.departed.learn(name[0], uid)
        self._leave(key, name)
        self._sent.pop(name, None)
        self._foreign.pop(name, None)
        return [key]

    def forget_decisions(self) -> None:
        """Go back to the statuses that the API server has."""
        self._sent.clear()
        for name, item in self._items.items():
            if item.status is not item.stored:
                self._items[name] = _with_status(item, item.stored)
            self.touch(name)

    def _with_target(self, item: ItemT) -> ItemT:
        if item.target_name is None:
            return item
        return replace(item, target=self._targets.get(item.meta.namespace, item.target_name))

    def _keep(self, name: Key, item: ItemT) -> None:
        key, old = self._key_of(item), self._items.get(name)
        if old is not None and (old_key := self._key_of(old)) != key:
            # deleted and created again for another task, without a deletion event
            self._targets.unuse((self._kind, old_key, name))
            self._leave(old_key, name)
        if old is not None and old.meta.uid != item.meta.uid:
            self._names.pop(old.meta.uid, None)
            self.departed.learn(name[0], old.meta.uid)
        self._names[item.meta.uid] = name
        self._targets.use((self._kind, key, name), item.target_name)
        self._items[name] = item
        self._by_key.setdefault(key, set()).add(name)
        self.touch(name)

    def _leave(self, key: Key, name: Key) -> None:
        if self._agenda is not None:
            self._agenda.gone(key, name)
        names = self._by_key[key]
        names.discard(name)
        if not names:
            del self._by_key[key]


def _name(meta: ObjectMeta) -> Key:
    return meta.namespace, meta.name


def _older(one: ObjectMeta, other: ObjectMeta) -> bool:
    """Return whether one version is older; versions are integers (KEP-5504), and one that is not counts as newer."""
    try:
        return int(one.resource_version) < int(other.resource_version)
    except ValueError:
        return False


def _with_spec(item: ItemT, old: ItemT) -> ItemT:
    """Return a task with the spec object of its older version if they are equal: it need not be judged again."""
    if not isinstance(item, ObservedTask) or not isinstance(old, ObservedTask):
        return item
    unchanged = item.spec is not None and old.spec is not None and 0 < item.meta.generation == old.meta.generation
    changed: ItemT = replace(item, spec=old.spec) if unchanged and item.spec == old.spec else item
    return changed


def _with_status(item: ItemT, status: Status) -> ItemT:
    changed: ItemT = replace(item, status=status)  # type: ignore[arg-type]  # each shelf gets its own kind of status
    return changed


def _with_stored(item: ItemT, meta: ObjectMeta, written: ItemT) -> ItemT:
    changed: ItemT = replace(item, meta=meta, stored=written.stored)
    return changed
