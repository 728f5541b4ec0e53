"""The terminal for the tests of commands."""

from pathlib import Path

import pytest

from support.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Give a terminal."""
    return Terminal(tmp_path, monkeypatch, capsys)
