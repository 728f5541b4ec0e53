"""Builds the real node's programs: two from our own module (realnode/ next to this package), four from upstream's."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from carillon_devcluster import toolchain
from carillon_devcluster.build import COMPILE_FLAGS, LINK_FLAGS
from carillon_devcluster.errors import BuildError, ClusterError
from carillon_devcluster.files import end_of, locked, write_atomically
from carillon_devcluster.layout import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carillon_devcluster.layout import Root

MODULE = SOURCES / "realnode"
CONTAINERD = "github.com/containerd/containerd/v2"
CONTAINERD_VERSION = "v2.4.2"
RUNC = "github.com/opencontainers/runc"
RUNC_VERSION = "v1.5.2"
"""Debian's own runc and crun are too old for this containerd."""

CNI_PLUGINS = Path("/usr/lib/cni")
SMALL = ("-ldflags", "-s -w")
NEEDED = {"nft": "nftables", "ip": "iproute2", "mount": "mount"}
"""Programs that the running node calls, and their Debian packages."""


@dataclasses.dataclass(frozen=True)
class Programs:
    """The folder of the programs."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return a program's path."""
        return self.folder / name


def check_machine() -> None:
    """Return if a real node can run here.

    Raises:
        ClusterError: It cannot; the message says what to install.

    """
    if sys.platform != "linux" or os.geteuid() != 0:
        message = "A real node needs Linux and root: run this as root."
        raise ClusterError(message)
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    if not (CNI_PLUGINS / "bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        message = f"A real node needs missing programs: apt-get install {' '.join(sorted(missing))}."
        raise ClusterError(message)


def programs_of(root: Root) -> Programs:
    """Return the paths of a state root's programs, built or not."""
    return Programs(root.path / "node-bin")


def build(root: Root) -> Programs:
    """Build the programs that are missing or outdated, and return their paths. A first build takes about five minutes.

    Raises:
        BuildError: A program could not be built; the message says why and what to do.
        ToolchainError: There is no Go and none could be installed.

    """
    programs = programs_of(root)
    folder = programs.folder
    stamp = folder / "stamp"
    with locked(root.path / "node-bin.lock"):
        if stamp.exists() and stamp.read_text() == _digest():
            return programs
        folder.mkdir(parents=True, exist_ok=True)
        go = toolchain.find_or_install(root, lambda text: print(text, file=sys.stderr), MODULE)
        for number, (what, command, changes) in enumerate(_steps(go, folder), start=1):
            print(f"building the real node: {what} ({number} of 4)", file=sys.stderr)
            _go(what, command, {**toolchain.environment(go), **changes}, folder / "build.log")
        write_atomically(stamp, _digest())
    return programs


def _steps(go: Path, folder: Path) -> list[tuple[str, Sequence[str], Mapping[str, str]]]:
    installed = {"GOBIN": str(folder)}
    commands = [
        f"{CONTAINERD}/cmd/{name}@{CONTAINERD_VERSION}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    ]
    return [
        ("the pause program", [str(go), "build", "-trimpath", *SMALL, "-o", str(folder / "pause"), "./pause"],
         {"CGO_ENABLED": "0"}),
        ("kubelet, kube-proxy and CoreDNS",
         [str(go), "build", *COMPILE_FLAGS, *LINK_FLAGS, "-o", str(folder / "carillon-node"), "."], {}),
        ("containerd", [str(go), "install", *COMPILE_FLAGS, *SMALL, *commands], installed),
        ("runc", [str(go), "install", *COMPILE_FLAGS, *SMALL, "-tags", "seccomp", f"{RUNC}@{RUNC_VERSION}"], installed),
    ]  # fmt: skip


def _go(what: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("wb") as out:
        done = subprocess.run(command, cwd=MODULE, env=dict(environment), stdout=out, stderr=out, check=False)
    if done.returncode:
        said = end_of(log, lines=5)
        hint = "apt-get install gcc libc6-dev libseccomp-dev pkg-config" if what == "runc" else "see the log"
        message = f"{what} could not be built ({hint}; the whole log is {log}):\n{said}"
        raise BuildError(message)


def _digest() -> str:
    digest = hashlib.sha256(f"{CONTAINERD_VERSION} {RUNC_VERSION} {COMPILE_FLAGS} {LINK_FLAGS}".encode())
    for path in sorted(path for path in MODULE.rglob("*") if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(f"{path.relative_to(MODULE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
