"""Runs the work on one object so that it cannot stop the operator.

The work is noted in a file, its CPU time is limited, and an object whose work
was ended, or ended the process, is set aside. All of it costs a few
microseconds for each piece of work.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.errors import CarillonError, TooMuchWorkError
from carillon_core.logs import get_logger
from carillon_core.ports import ObjectKind
from carillon_operator.guard.dead_mans_switch import DeadMansSwitch
from carillon_operator.guard.note import Note
from carillon_operator.guard.quarantine import Quarantine
from carillon_operator.guard.subject import Subject

log = get_logger(__name__)

ResultT = TypeVar("ResultT")
HELD_EXIT = 70
"""The exit code of an operator that ends itself because work on one object cannot be ended."""
HELD_SECONDS = 20
"""How long no thread of the process may run Python code, because one call into C holds the interpreter."""


class SetAsideError(CarillonError):
    """The object is set aside; the message says why."""


class Guard:
    """The guard of one process: everything that it runs, it runs in one thread."""

    def __init__(self, note: Note, quarantine: Quarantine, switch: DeadMansSwitch | None = None) -> None:
        """Take where work is noted, what is set aside, and what ends a process whose interpreter is held."""
        self._note = note
        self._switch = switch
        self.quarantine = quarantine
        quarantine.inherit(note.left, held=switch is not None and switch.fired)

    @classmethod
    def in_folder(cls, folder: Path | None) -> Self:
        """Return the guard that keeps its files in a folder, or in memory without one.

        Raises:
            OSError: The folder cannot be written.

        """
        if folder is None:
            return cls(Note(None), Quarantine(None))
        note = Note(folder / "working-on")
        return cls(note, Quarantine(folder / "set-aside.json"), DeadMansSwitch(folder / "held", HELD_SECONDS))

    def watch(self) -> None:
        """Keep how long work takes in the note, and end the process if work cannot be ended. Call it in that thread."""
        own = threading.get_ident()

        def watched(thread: int, seconds: float) -> None:
            if thread == own:
                self._note.took(seconds)

        CPU_LIMIT.watched, CPU_LIMIT.stuck = watched, _end_process
        if self._switch is not None:
            self._switch.start()

    def parsed(
        self, kind: ObjectKind, parse: Callable[[Mapping[str, Any], str], ResultT]
    ) -> Callable[[Mapping[str, Any]], ResultT]:
        """Return how an object of a kind is parsed: within the guard, and without its spec if it is set aside.

        Args:
            kind: The kind.
            parse: Parses an object; its second argument is why the object is set aside, or an empty string.

        """

        def guarded(raw: Mapping[str, Any]) -> ResultT:
            try:
                return self.run(Subject.of_object(kind, raw), "parse", lambda: parse(raw, ""))
            except SetAsideError as error:
                return parse(raw, str(error))

        return guarded

    def run(self, subject: Subject, name: str, work: Callable[[], ResultT]) -> ResultT:
        """Return the result of work on an object.

        Args:
            subject: The object.
            name: Which work it is.
            work: Synchronous and without effects.

        Raises:
            SetAsideError: The object is set aside, now or earlier.
            Exception: The work failed.

        """
        if why := self.quarantine.why(subject):
            raise SetAsideError(_message(why))
        self._note.write(subject, name)
        try:
            result = CPU_LIMIT.run(work)
        except TooMuchWorkError as error:
            why = f"when the operator worked on it, {error}"
            self.quarantine.put(subject, why)
            raise SetAsideError(_message(why)) from error
        finally:
            self._note.clear()
        self.quarantine.cleared(subject, name)
        return result


def _message(why: str) -> str:
    return f"set aside, so that it cannot stop the operator: {why}; change its spec to have it tried again"


def _end_process(seconds: float) -> None:
    """End the process, whose note tells the next one why. The work holds the only thread that could end it well."""
    log.critical("work on one object cannot be ended, ending the process", seconds=round(seconds, 1))
    os._exit(HELD_EXIT)
