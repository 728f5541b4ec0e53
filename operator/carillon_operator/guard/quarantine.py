"""The objects that are set aside: the operator crashed, was killed, or did not get on while it worked on them.

Each is set aside at one generation; a change of its spec frees it. The list is kept in a file, so that a restarted
container knows it. Other operators learn it from the object's condition.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from carillon_core.logs import get_logger
from carillon_operator.guard.note import Left
from carillon_operator.guard.subject import Subject

log = get_logger(__name__)

LONG_SECONDS = 0.2
"""Work that had taken this much CPU time when the process ended is what ended it. Normal work takes a few milliseconds,
so a process that is killed at some moment leaves a shorter note, which proves nothing the first time."""
MOST = 10_000
"""The number of objects that are remembered. More can only be a defect of ours that is everywhere."""

CRASHED = "the operator ended while working on it"
REPEATEDLY = "the operator ended twice while working on it"


@dataclass(frozen=True, slots=True)
class _Kept:
    subject: Subject
    why: str


class Quarantine:
    """What is set aside, and what is suspected."""

    def __init__(self, path: Path | None) -> None:
        """Read the file, if there is one; without a path the list is kept in memory."""
        self._path = path
        self._aside: dict[str, _Kept] = {}
        """What is set aside, by uid."""
        self._suspect: tuple[Subject, str] | None = None
        """What was worked on for a moment when an earlier process ended."""
        self.total = 0
        """The number of times that an object was set aside by this process."""
        if path is not None:
            self._load(path)

    def __iter__(self) -> Iterator[Subject]:
        """Iterate over what is set aside."""
        return (kept.subject for kept in list(self._aside.values()))  # read by the thread of the metrics too

    def inherit(self, left: Left | None, *, held: bool = False) -> None:
        """Judge the note that an earlier process left behind.

        Args:
            left: The note, if there is one.
            held: Whether that process ended itself because its interpreter was held.

        """
        if left is None:
            return
        if held or left.seconds >= LONG_SECONDS:
            self.put(left.subject, CRASHED)
        elif (left.subject, left.work) == self._suspect:
            self.put(left.subject, REPEATEDLY)
        else:
            log.warning("the last process ended while working on an object", object=str(left.subject))
            self._suspect = (left.subject, left.work)
            self._save()

    def put(self, subject: Subject, why: str) -> None:
        """Set an object aside."""
        log.error("object set aside", object=str(subject), generation=subject.generation, why=why)
        self.total += 1
        if self._suspect is not None and subject == self._suspect[0]:
            self._suspect = None
        self._aside[subject.uid] = _Kept(subject, why)
        if len(self._aside) > MOST:
            del self._aside[next(iter(self._aside))]
        self._save()

    def why(self, subject: Subject) -> str:
        """Return why an object is set aside, or an empty string; a newer generation of it is free."""
        kept = self._aside.get(subject.uid)
        if kept is None:
            return ""
        if kept.subject.generation != subject.generation:
            self.forget(subject.uid)
            return ""
        return kept.why

    def cleared(self, subject: Subject, work: str) -> None:
        """Learn that work on an object ended well: it is not suspected of that any more."""
        if self._suspect is not None and subject.uid == self._suspect[0].uid and work == self._suspect[1]:
            self._suspect = None
            self._save()

    def forget(self, uid: str) -> None:
        """Forget an object that is gone, or has changed."""
        if self._aside.pop(uid, None) is not None:
            self._save()

    def _load(self, path: Path) -> None:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, or of another version
            read = json.loads(path.read_text(encoding="utf-8"))
            if read["suspect"]:
                subject, work = read["suspect"]
                self._suspect = (Subject(**subject), str(work))
            for kept in read["aside"]:
                subject = Subject(**kept["subject"])
                self._aside[subject.uid] = _Kept(subject, str(kept["why"]))

    def _save(self) -> None:
        if self._path is None:
            return
        text = json.dumps(
            {
                "suspect": None if self._suspect is None else (asdict(self._suspect[0]), self._suspect[1]),
                "aside": [asdict(kept) for kept in self._aside.values()],
            }
        )
        new = self._path.with_suffix(".new")
        try:
            new.write_text(text, encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            log.warning("the list of objects that are set aside was not written", why=str(error))
