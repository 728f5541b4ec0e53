"""A user's terminal, in which tests call ``carillon``."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from carillon_cli.__main__ import main


@dataclass(frozen=True, slots=True)
class Said:
    """The result of a command."""

    code: int
    out: str
    err: str


class Terminal:
    """A user's terminal."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, caught: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._patch = patch
        self._caught = caught

    def run(self, *arguments: str, stdin: bytes = b"") -> Said:
        """Run ``carillon``."""
        self._patch.setattr(sys, "argv", ["carillon", *arguments])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main()
        caught = self._caught.readouterr()
        return Said(code, caught.out, caught.err)

    def file(self, text: str | bytes, name: str = "tasks.yaml") -> str:
        """Write a file; return its path."""
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)
