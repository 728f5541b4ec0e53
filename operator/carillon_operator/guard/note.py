"""A note of the object that is being worked on, kept in a file: it outlives a process that was killed or that crashed.

The file is mapped into memory, so that writing the note costs a microsecond and no call of the system. What the kernel
has of a process's mapped file survives the process, however it ended.
"""

import json
import mmap
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from carillon_operator.guard.subject import Subject

SIZE = 4096
_HEADER = struct.Struct("<Hd")
"""The length of the text, 0 for no note; the CPU seconds that the work has taken so far."""


@dataclass(frozen=True, slots=True)
class Left:
    """A note that an earlier process left behind: it ended amid that work."""

    subject: Subject
    work: str
    """Which work it was."""
    seconds: float
    """The CPU time that the work had taken; 0 if it was not long enough to be looked at twice."""


class Note:
    """The one note of a process. Its work is synchronous, so there is never more than one."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, made if it is missing; without a path the note is not kept.

        Raises:
            OSError: The file cannot be written.

        """
        self.left: Left | None = None
        """What an earlier process left in the file."""
        if path is None:
            self._map = mmap.mmap(-1, SIZE)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.truncate(SIZE)
            self._map = mmap.mmap(file.fileno(), SIZE)
        self.left = self._read()
        self.clear()

    def write(self, subject: Subject, work: str) -> None:
        """Note what is worked on from now."""
        text = json.dumps([work, asdict(subject)]).encode()[: SIZE - _HEADER.size]
        self._map[_HEADER.size : _HEADER.size + len(text)] = text
        _HEADER.pack_into(self._map, 0, len(text), 0.0)

    def took(self, seconds: float) -> None:
        """Note how much CPU time the work has taken. Called by another thread."""
        (length, _) = _HEADER.unpack_from(self._map, 0)
        if length:
            _HEADER.pack_into(self._map, 0, length, seconds)

    def clear(self) -> None:
        """Note that nothing is worked on."""
        _HEADER.pack_into(self._map, 0, 0, 0.0)

    def _read(self) -> Left | None:
        length, seconds = _HEADER.unpack_from(self._map, 0)
        try:
            work, subject = json.loads(self._map[_HEADER.size : _HEADER.size + length])
            return Left(Subject(**subject), work, seconds)
        except (ValueError, TypeError):  # empty, or of another version
            return None
