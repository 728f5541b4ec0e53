"""Builds the cluster's program, atomically, and only when its sources have changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from carillon_devcluster import toolchain
from carillon_devcluster.errors import BuildError
from carillon_devcluster.files import end_of, locked, write_atomically
from carillon_devcluster.layout import SOURCES
from carillon_devcluster.progress import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carillon_devcluster.layout import Root

VERSION = "1.36.3"
_COMPONENT = "k8s.io/component-base/version"
COMPILE_FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")
LINK_FLAGS = (
    "-ldflags",
    # Without these, the API server reports version v0.0.0, and clients complain.
    f"-s -w -X {_COMPONENT}.gitVersion=v{VERSION} -X {_COMPONENT}.gitMajor=1 -X {_COMPONENT}.gitMinor=36",
)
TITLE = "building the local cluster (first time only)"
TITLE_AGAIN = "building the local cluster (its sources changed)"
NEEDED_BYTES = 4 * 1024**3
"""The free space for a first build: the modules' sources, Go's cache, and the linker's temporary files."""

NEEDED_BYTES_AGAIN = 1024**3


def sources(folder: Path = SOURCES) -> Iterator[Path]:
    """Return the source files of the program, in a fixed order."""
    yield from (folder / "go.mod", folder / "go.sum")
    # the real node's programs have their own module
    other = folder / "realnode"
    yield from sorted(
        path for path in folder.rglob("*.go") if not path.name.endswith("_test.go") and other not in path.parents
    )


def stamp(folder: Path = SOURCES) -> str:
    """Return a digest of all inputs of the program, except the version of Go."""
    digest = hashlib.sha256()
    for path in sources(folder):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update("\0".join([*COMPILE_FLAGS, *LINK_FLAGS]).encode())
    return digest.hexdigest()


def is_current(root: Root) -> bool:
    """Return whether the program exists and was built from these sources by a version of Go that is new enough."""
    try:
        made, version, size = root.stamp.read_text().split()
        if root.binary.stat().st_size != int(size):
            return False  # truncated since
    except (OSError, ValueError):
        return False
    built_with = toolchain.parse_version(version) or ()
    return made == stamp() and built_with >= toolchain.wanted_version() and os.access(root.binary, os.X_OK)


def build(root: Root, out: TextIO | None = None) -> Path:
    """Build the program unless it is current, and return its path.

    A concurrent call waits for the first one and uses its result.

    Raises:
        BuildError: It could not be built; the message says why and what to do.
        ToolchainError: Go is missing and could not be installed.

    """
    if is_current(root):
        return root.binary
    reporter = Reporter(out or sys.stderr, TITLE_AGAIN if root.stamp.exists() else TITLE)
    try:
        with locked(root.build_lock, on_wait=lambda: reporter.say("waiting for another build")):
            if not is_current(root):
                _build(root, reporter)
    except OSError as error:
        message = f"The local cluster could not be built in {root.path} ({error}): free space or choose another --root."
        raise BuildError(message) from error
    return root.binary


def _build(root: Root, reporter: Reporter) -> None:
    root.binary.parent.mkdir(parents=True, exist_ok=True)
    go = toolchain.find_or_install(root, reporter.say)
    check_space(root, go)
    for left in root.binary.parent.glob(".build-*"):  # left by a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    made_from = stamp()  # before the build: if a file changes meanwhile, the next call builds again
    root.build_log.write_text("")
    total = len(stale_packages(root, go, reporter))
    with tempfile.TemporaryDirectory(prefix=".build-", dir=root.binary.parent) as folder:
        target = Path(folder) / "carillon-devcluster"
        _run_build(root, go, target, reporter, total)
        target.replace(root.binary)
    version = ".".join(map(str, toolchain.version_of(go) or ()))
    size = root.binary.stat().st_size
    write_atomically(root.stamp, f"{made_from} go{version} {size}\n", mode=0o644)
    reporter.finish(f"built {root.binary}")


def stale_packages(root: Root, go: Path, reporter: Reporter) -> list[str]:
    """Return the packages to compile; this downloads the sources of all of them."""
    reporter.say("listing the packages to compile")
    command = [str(go), "list", *COMPILE_FLAGS, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", "."]
    fetched = 0
    # The list goes to a file: a pipe that is read after stderr would fill up, and both sides would wait for ever.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as listed,
        root.build_log.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=SOURCES, env=toolchain.environment(go), text=True, stdout=listed, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stderr is not None  # noqa: S101 - asked for above
        for line in process.stderr:
            log.write(line)
            if line.startswith("go: downloading"):
                fetched += 1
                reporter.count(f"fetching the sources, {fetched} modules so far")
        process.wait()
        listed.seek(0)
        packages = listed.read().split()
    if process.returncode != 0:
        raise failure(root)
    return packages


def _run_build(root: Root, go: Path, target: Path, reporter: Reporter, total: int) -> None:
    command = [str(go), "build", "-v", *COMPILE_FLAGS, *LINK_FLAGS, "-o", str(target), "."]
    done = 0
    with subprocess.Popen(
        command, cwd=SOURCES, env=toolchain.environment(go), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process, root.build_log.open("a", encoding="utf-8") as log:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            for line in process.stdout:  # -v: a line for each package as its compilation starts
                log.write(line)
                if " " not in line.strip():
                    done = min(done + 1, total)
                    reporter.step(done, total)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise failure(root)


def check_space(root: Root, go: Path) -> None:
    """Check that the disk has enough space for a build.

    Raises:
        BuildError: There is too little space in one of the folders that a build writes to.

    """
    needed = NEEDED_BYTES_AGAIN if root.stamp.exists() else NEEDED_BYTES
    asked = subprocess.run(
        [go, "env", "GOCACHE", "GOMODCACHE"], capture_output=True, text=True, check=False, env=toolchain.environment(go)
    )
    for place in [str(root.path), *asked.stdout.split("\n")]:
        folder = Path(place)
        while place and not folder.exists():
            folder = folder.parent
        if place and (free := shutil.disk_usage(folder).free) < needed:
            message = (
                f"The local cluster's build needs about {needed / 1024**3:.0f} GB, and {folder} has "
                f"{free / 1024**3:.1f} GB left: free some space and run this again."
            )
            raise BuildError(message)


def failure(root: Root) -> BuildError:
    """Return the error for a failed build, from the end of its log."""
    log = end_of(root.build_log, lines=400, most=64 * 1024)
    text = log.lower()
    if "no space left on device" in text:
        why = "the disk is full: free about 4 GB and run this again"
    elif "dial tcp" in text or "no such host" in text or "proxyconnect" in text:
        why = "modules could not be fetched: check the network (or GOPROXY and HTTPS_PROXY) and run this again"
    elif "checksum mismatch" in text:
        why = "a module is not the one that go.sum names: empty Go's cache (go clean -modcache) and run this again"
    elif "signal: killed" in text:
        why = "the compiler was killed, probably for want of memory: free some memory and run this again"
    else:
        # -v prints one package per line; lines with a space are the compiler's.
        said = [line for line in log.splitlines() if " " in line.strip()]
        why = f"Go says: {said[-1].strip()}" if said else "Go gave no reason"
    return BuildError(f"The local cluster could not be built; {why} (the whole log is {root.build_log}).")
