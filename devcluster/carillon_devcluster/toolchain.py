"""Finds a version of Go that is new enough, or installs one from the Python package index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from carillon_devcluster.errors import ToolchainError
from carillon_devcluster.layout import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from carillon_devcluster.layout import Root

REQUIREMENTS = SOURCES / "go-requirements.txt"
COMMON_PLACES = (Path("/usr/local/go/bin/go"), Path("/opt/homebrew/bin/go"), Path("/usr/lib/go/bin/go"))
"""Folders in which Go is often installed without being on the search path."""

Version = tuple[int, ...]


def wanted_version(module: Path = SOURCES) -> Version:
    """Return the Go version that a module's go.mod requires."""
    found = re.search(r"^go (\d+(?:\.\d+)*)", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        message = "go.mod does not name a version of Go; check out the sources again."
        raise ToolchainError(message)
    return tuple(int(part) for part in found[1].split("."))


def parse_version(text: str) -> Version | None:
    """Return the version in the output of `go version`; None for any other text."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def version_of(go: Path) -> Version | None:
    """Return the version of a Go program; None if it is not Go."""
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environment(go), timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(done.stdout)


def environment(go: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for Go: the caller's, without another toolchain and without the user's flags."""
    env = dict(os.environ if base is None else base)
    # Go would download another version on its own, and flags would change the program.
    env.update(GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off", PATH=f"{go.parent}{os.pathsep}{env.get('PATH', '')}")
    env.setdefault("HOME", str(Path.home()))
    return env


def find(root: Root, module: Path = SOURCES) -> Path | None:
    """Return a Go that is new enough for a module: from the search path, a usual folder, or an earlier installation."""
    on_path = shutil.which("go")
    candidates = [Path(on_path)] if on_path else []
    for candidate in [*candidates, *COMMON_PLACES, root.go_venv / "bin" / "go"]:
        if candidate.exists() and (version_of(candidate) or ()) >= wanted_version(module):
            return candidate
    return None


def find_or_install(root: Root, say: Callable[[str], None], module: Path = SOURCES) -> Path:
    """Return a Go that is new enough for a module, installing one under the state root if there is none.

    Raises:
        ToolchainError: It is missing and cannot be installed.

    """
    found = find(root, module)
    if found is not None:
        return found
    say("fetching Go")
    wanted = ".".join(map(str, wanted_version(module)))
    hint = f"install Go {wanted} or newer, put it on PATH, and run this again"
    try:
        venv.EnvBuilder(with_pip=True, clear=True).create(root.go_venv)
        done = subprocess.run(
            [root.go_venv / "bin" / "python", "-m", "pip", "install", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "-r", REQUIREMENTS],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        message = f"Go {wanted} was not found, and a virtual environment for it could not be created ({error}): {hint}."
        raise ToolchainError(message) from error
    go = root.go_venv / "bin" / "go"
    if done.returncode == 0 and (version_of(go) or ()) >= wanted_version(module):
        return go
    why = (done.stderr or done.stdout).strip().splitlines()
    message = f"Go {wanted} was not found, and pip could not install it ({why[-1] if why else sys.platform}): {hint}."
    raise ToolchainError(message)
