"""Development tools written in Go, each built on first use from its own pinned module.

``bench/api.py`` and the checks of the Helm chart use it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carillon_devcluster.errors import BuildError
from carillon_devcluster.toolchain import environment, find_or_install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from carillon_devcluster.layout import Root


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program, and the package that it is built from."""

    name: str
    """The program's file name in ``bin`` of the state root."""
    package: str
    """The import path of its main package."""
    module: Path
    """The folder whose go.mod and go.sum pin it."""


def built(tool: GoTool, root: Root, say: Callable[[str], None]) -> Path:
    """Return the tool's program; build it first if it is missing or its module has changed.

    Waits for a build that is already running in any process. It takes
    some minutes on a machine that has built nothing yet.

    Raises:
        ToolchainError: There is no Go, and none can be installed.
        BuildError: It cannot be built; the message has the end of Go's output.

    """
    program = root.path / "bin" / tool.name
    stamp = program.with_suffix(".stamp")
    wanted = hashlib.sha256(b"".join((tool.module / f).read_bytes() for f in ("go.mod", "go.sum"))).hexdigest()
    if _is_current(program, stamp, wanted):
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with program.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_current(program, stamp, wanted):
            say(f"building {tool.name} (first time only; this may take some minutes)")
            _build(tool, find_or_install(root, say), program)
            stamp.write_text(wanted)
    return program


def _is_current(program: Path, stamp: Path, wanted: str) -> bool:
    return program.exists() and stamp.exists() and stamp.read_text() == wanted


def _build(tool: GoTool, go: Path, program: Path) -> None:
    aside = program.with_suffix(".new")
    flags = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(aside))
    done = subprocess.run(
        [str(go), "build", *flags, tool.package],
        cwd=tool.module,
        env=environment(go),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-10:])
        message = f"{tool.name} cannot be built from {tool.module.name}/go.mod; the end of Go's output:\n{tail}"
        raise BuildError(message)
    os.replace(aside, program)  # noqa: PTH105  # atomic, so that a partial program is never started
