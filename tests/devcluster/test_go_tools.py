"""A Go tool is built from its pinned module once, and again when the module changes."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from carillon_devcluster.errors import BuildError
from carillon_devcluster.go_tools import GoTool, built
from carillon_devcluster.layout import Root

if TYPE_CHECKING:
    from pathlib import Path

MAIN = 'package main\n\nfunc main() {{ print("{0}") }}\n'


@pytest.fixture
def tool(tmp_path: Path) -> GoTool:
    """Give a tool with one file and no dependencies."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example.com/said\n\ngo 1.24\n")
    (module / "go.sum").write_text("")
    (module / "main.go").write_text(MAIN.format("first"))
    return GoTool("said", "example.com/said", module)


def said_by(program: Path) -> str:
    """Return the program's output."""
    return subprocess.run([program], capture_output=True, text=True, check=True).stderr


def test_it_is_built_once_and_again_when_its_module_changes(tool: GoTool, tmp_path: Path) -> None:
    """Concurrent calls wait for one build; only go.mod and go.sum identify the tool, not its sources."""
    told: list[str] = []
    root = Root(tmp_path / "state")
    with ThreadPoolExecutor(2) as both:
        programs = list(both.map(lambda _: built(tool, root, told.append), range(2)))
    assert programs == [root.path / "bin" / "said"] * 2
    assert (said_by(programs[0]), len(told)) == ("first", 1)
    (tool.module / "main.go").write_text(MAIN.format("second"))
    assert said_by(built(tool, root, told.append)) == "first"
    (tool.module / "go.mod").write_text("module example.com/said\n\ngo 1.23\n")
    assert said_by(built(tool, root, told.append)) == "second"
    assert len(told) == 2


def test_what_cannot_be_built_says_why(tool: GoTool, tmp_path: Path) -> None:
    """It leaves no incomplete program."""
    root = Root(tmp_path / "state")
    (tool.module / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(BuildError, match=r"(?s)said cannot be built from module/go\.mod.*undefined: nothing"):
        built(tool, root, lambda _: None)
    assert not (root.path / "bin" / "said").exists()
